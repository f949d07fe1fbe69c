"""What is unusual in the ledger: prices, volume, mix, runaway users, errors, latency, budgets; each with its cause."""

KIND = "spend_anomaly"
"""Kind of the events that tell of something unusual; see `store.events`."""
