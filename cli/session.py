"""Who is asking, and the database made ready."""

from __future__ import annotations

import getpass
import os

from store.settings import Settings, load_settings


def actor() -> str:
    """The person at the prompt, for ledgers."""
    try:
        return os.environ.get("MERIT_ACTOR") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def prepared() -> Settings:
    """Settings with the database migrated, so that every command works first."""
    from store.database import migrate

    settings = load_settings()
    migrate(settings)
    return settings
