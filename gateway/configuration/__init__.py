"""providers.toml: which providers, models, aliases and ensembles there are; read strictly, and again on a change."""

from gateway.configuration.loading import Configuration, check, load_configuration, read, source_of
from gateway.configuration.problems import Problem
from gateway.configuration.reloading import Reloader

__all__ = [
    "Configuration",
    "Problem",
    "Reloader",
    "check",
    "load_configuration",
    "read",
    "source_of",
]
