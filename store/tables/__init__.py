"""The schema of the platform database. Importing this package registers every table on `Base.metadata`."""

from __future__ import annotations

from store.tables import business, decisions, gateway, insights, platform, spend, tuning
from store.tables.base import Base

__all__ = ["Base", "business", "decisions", "gateway", "insights", "platform", "spend", "tuning"]
