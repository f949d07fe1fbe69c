"""What the registry tells of models and versions, and what MLflow's browser shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class VersionInfo:
    """A registered version.

    Attributes
    ----------
    run_id : the run that made it; "" where it is not known.
    created_at : naive UTC.
    aliases : "champion", "challenger", "previous", …
    tags : `sha256` of the folder, `dataset_digest`, `git_commit`, `candidate`, `family`, …
    """

    name: str
    version: int
    run_id: str
    created_at: datetime
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str | None:
        return self.tags.get("sha256")


@dataclass(frozen=True)
class ModelInfo:
    """A registered model.

    Attributes
    ----------
    aliases : alias → version.
    latest : its newest version; None where it has none.
    created_at, updated_at : naive UTC.
    """

    name: str
    aliases: Mapping[str, int]
    latest: int | None
    created_at: datetime
    updated_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)


def model_info(item: Any) -> ModelInfo:
    """From MLflow's registered model."""
    aliases = {alias: int(version) for alias, version in dict(item.aliases or {}).items()}
    latest = max((int(version.version) for version in item.latest_versions or []), default=None)
    return ModelInfo(
        name=item.name,
        aliases=aliases,
        latest=latest,
        created_at=_moment(item.creation_timestamp),
        updated_at=_moment(item.last_updated_timestamp),
        tags=dict(item.tags or {}),
    )


def version_info(item: Any, aliases: Mapping[str, int]) -> VersionInfo:
    """From MLflow's model version and the aliases of its model."""
    number = int(item.version)
    return VersionInfo(
        name=item.name,
        version=number,
        run_id=item.run_id or "",
        created_at=_moment(item.creation_timestamp),
        aliases=tuple(sorted(alias for alias, version in aliases.items() if version == number)),
        tags=dict(item.tags or {}),
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None)
