"""Which model answers a prompt: quality, cost and time of each, predicted from the prompt alone, and what follows."""
