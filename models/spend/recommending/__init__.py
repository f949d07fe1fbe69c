"""Ways to spend less: what each would save, estimated from the ledger, and what it did save once it was followed."""

KIND = "spend_recommendation"
"""Kind of the events that tell of a recommendation, and of what it saved; see `store.events`."""
