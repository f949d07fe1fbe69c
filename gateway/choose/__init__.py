"""Which model answers: the catalogue, what a prompt asks for, limits, strategies, ensembles and the decision."""
