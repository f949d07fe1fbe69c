"""Which customers to make which offer within a budget, what that is expected to save, and what is at risk."""
