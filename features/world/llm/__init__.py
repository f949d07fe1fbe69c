"""The LLM side of the demo world: models whose quality is known, and tasks whose answers are."""
