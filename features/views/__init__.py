"""Point-in-time views: what a model may know of a customer or a series at a moment."""
