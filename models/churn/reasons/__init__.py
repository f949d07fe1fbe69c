"""Why a customer is thought to be at risk: contributions to the log-odds, in words, and over all customers."""
