"""One file per wire format, and the only place that speaks HTTP to a provider."""
