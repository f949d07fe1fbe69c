"""Where things are kept: settings, database, registry, events, errors."""
