"""The champion that is looked at: what it is, what it was promised to do, and who stood there before it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from models.families import Spec
from models.lifecycle.evaluation import Estimate
from models.lifecycle.registration import OPTIONS_TAG
from store.errors import NoChampion
from store.ledger import Promotion, history
from store.registry import Registry, VersionInfo
from store.settings import Settings

CHAMPION = "champion"

SpecOf = Callable[[str, str, Mapping[str, Any]], Spec]


@dataclass(frozen=True)
class Subject:
    """A champion.

    Attributes
    ----------
    spec : what would train its successor: the same family, name and options.
    trained_as_of : nothing later was known when it learned; None for a model made from a file.
    promotion : the line of the ledger that made it champion; None where the ledger does not know.
    promised : its metrics on the holdout of its gate; empty where the ledger does not know.
    """

    spec: Spec
    info: VersionInfo
    trained_as_of: datetime | None
    promotion: Promotion | None
    promised: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def version(self) -> int:
        return self.info.version


def champion_of(settings: Settings, registry: Registry, name: str, spec_of: SpecOf = Spec) -> Subject:
    """The champion of a model.

    Parameters
    ----------
    spec_of : (family, name, options of the version) → what to train; lets the caller add what options do not hold.

    Raises
    ------
    UnknownModel : there is none of that name.
    NoChampion : nothing has been promoted yet.
    """
    version = registry.alias(name, CHAMPION)
    if version is None:
        registry.model(name)
        raise NoChampion(
            f"The model {name!r} has no champion to look at.",
            remedy=f"Promote a version: `merit registry promote {name} VERSION`.",
            field="name",
            value=name,
        )
    info = registry.version(name, version)
    lines = [
        line for line in history(settings, name) if line.to_version == version and line.run_id in (None, info.run_id)
    ]
    done = [line for line in lines if line.state == "done"]
    judged = [line for line in lines if line.report and "metrics" in line.report]
    return Subject(
        spec=spec_of(info.tags.get("family", name), name, options_of(info)),
        info=info,
        trained_as_of=learned_until(info),
        promotion=done[-1] if done else None,
        promised=_promised(judged[-1]) if judged else {},
    )


def learned_until(info: VersionInfo) -> datetime | None:
    """Nothing later was known when a version learned; None for one that was made from a file."""
    as_of = info.tags.get("as_of")
    return datetime.fromisoformat(as_of) if as_of else None


def options_of(info: VersionInfo) -> dict[str, Any]:
    """The options that a version was trained with, as far as its tags tell."""
    options: dict[str, Any] = json.loads(info.tags.get(OPTIONS_TAG, "{}"))
    return options


def _promised(line: Promotion) -> dict[str, Estimate]:
    assert line.report is not None
    metrics = line.report["metrics"].get("challenger", {})
    return {name: Estimate.from_dict(value) for name, value in metrics.items() if value.get("value") is not None}
