"""The card of a version: the HTML page about it that its training run keeps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from store.errors import UnknownEntity
from store.registry.connection import translated
from store.settings import Settings

# Its place among the artifacts of the run.
CARD = "report.html"


def read_card(settings: Settings, client: Any, name: str, version: int, run_id: str) -> str:
    """The page that was written when the version was registered.

    Raises
    ------
    UnknownEntity : the run keeps none.
    """
    with translated(settings), tempfile.TemporaryDirectory() as folder:
        if run_id and any(entry.path == CARD for entry in client.list_artifacts(run_id)):
            return Path(client.download_artifacts(run_id, CARD, folder)).read_text(encoding="utf-8")
    raise UnknownEntity(
        f"Version {version} of {name!r} has no card.",
        remedy="Cards are written by training; a version registered past it, or whose run was deleted, has none.",
        field="version",
        value=version,
    )
