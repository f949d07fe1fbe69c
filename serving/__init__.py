"""Who gets it: the FastAPI application, wiring only."""
