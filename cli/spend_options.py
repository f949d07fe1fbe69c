"""Options that the commands about money share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

AsOf = Annotated[
    datetime | None,
    typer.Option(
        "--as-of",
        help="Only what was known then, UTC. (default: the end of the ledger)",
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
        show_default=False,
    ),
]
Workspace = Annotated[str | None, typer.Option(help="Only this one. (default: all)", show_default=False)]
