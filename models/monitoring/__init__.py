"""What becomes of a champion after its promotion: drift of what it reads, its loss on arrived truth, its guards."""
