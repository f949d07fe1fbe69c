"""When it happens: Prefect flows, wiring only."""
