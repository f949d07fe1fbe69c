"""Pricing: elasticities with intervals, demand that never rises with the price, and prices worth trying."""
