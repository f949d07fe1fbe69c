"""From a verdict to the registry: the run with everything in it, the version, and the champion's alias."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from models.families import Spec
from models.lifecycle import card
from models.lifecycle.evaluation import Evaluation
from models.lifecycle.family import Explains
from models.lifecycle.gate import GateReport
from models.lifecycle.stages import Fitted, Judged, leaderboard
from store.dataset import DatasetRef, SnapshotRef
from store.errors import PromotionConflict
from store.feature_rows import publish as publish_rows
from store.promotions import promote, record_refusal
from store.registry import CARD, Registry
from store.settings import Settings

# On a version: the options it was trained with, as JSON, so that monitoring builds the same family again.
OPTIONS_TAG = "spec_options"
# Options that change how fast something is learned, not what.
PASSING = ("threads", "cache")
# What a model decided for itself, beside what it was told: shown as parameters of its run.
SHOWN = ("threshold", "calibration", "weights", "settings", "models")


@dataclass(frozen=True)
class Judgement:
    """All that a training run found out, before anything is registered.

    Attributes
    ----------
    split : the split in one sentence.
    notes : what the reader must know about the data.
    """

    spec: Spec
    dataset: DatasetRef
    split: str
    fitted: tuple[Fitted, ...]
    judged: tuple[Judged, ...]
    report: GateReport
    final: Path
    notes: tuple[str, ...] = ()

    @property
    def challenger(self) -> Judged:
        return next(one for one in self.judged if one.candidate == self.report.challenger)


@dataclass(frozen=True)
class Registered:
    """A version in the registry that nobody has been asked to serve yet."""

    name: str
    version: int
    run_id: str


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    Attributes
    ----------
    verdict : "promote", "keep", or "conflict" when somebody else promoted while the gate was deciding.
    champion : version that is champion afterwards; None when there is none.
    """

    verdict: Literal["promote", "keep", "conflict"]
    reason: str
    registered: Registered
    champion: int | None


def summary(judgement: Judgement) -> dict[str, Any]:
    """The report of a training run, JSON-ready: split, dataset, every candidate with intervals, choice, verdict."""
    rows = leaderboard(judgement.fitted, judgement.judged)
    evaluation = judgement.challenger.load()
    metrics = {name: estimate.to_dict() for name, estimate in evaluation.metrics.items()}
    chosen = {**evaluation.details, "candidate": evaluation.candidate, "metrics": metrics}
    return {
        "model": {"name": judgement.spec.name, "family": judgement.spec.family},
        "chosen": chosen,
        "candidates": rows,
        "split": judgement.split,
        "dataset": judgement.dataset.to_dict(),
        "notes": list(judgement.notes),
        "verdict": judgement.report.verdict,
        "reason": judgement.report.reason,
        "gate": judgement.report.to_dict(),
    }


def register(settings: Settings, judgement: Judgement, *, run_name: str, tags: Mapping[str, str]) -> Registered:
    """Log the run with its candidates below it, and register the challenger as a new version.

    Returns
    -------
    The version; its alias is `challenger`.
    """
    registry = Registry(settings)
    spec, report = judgement.spec, judgement.report
    family = spec.build()
    evaluation = judgement.challenger.load()
    rows = leaderboard(judgement.fitted, judgement.judged)
    evaluations = {one.candidate: one.load() for one in judgement.judged if one.path}
    common = {"family": spec.family, "dataset_digest": judgement.dataset.digest, "git_commit": code_commit(), **tags}
    with registry.run(spec.name, run_name, {**common, "verdict": report.verdict, "chosen": report.challenger}) as run:
        run.log_params(
            {**spec.options, "candidate": report.challenger, "split": judgement.split, "seed": settings.seed}
            | _flat({name: evaluation.details[name] for name in SHOWN if name in evaluation.details})
        )
        run.log_dataset(judgement.dataset)
        run.log_metrics(_numbers(rows, report.challenger))
        run.log_text(json.dumps(summary(judgement), indent=1, default=str), "report.json")
        run.log_text(json.dumps(report.to_dict(), indent=1), "gate.json")
        for file, data in evaluation.plots.items():
            run.log_bytes(data, f"plots/{file}")
        model = family.load(judgement.final)
        version = registry.register(
            spec.name,
            judgement.final,
            run_id=run.id,
            example=model.signature(),
            tags={**common, "candidate": report.challenger, "verdict": report.verdict, OPTIONS_TAG: _options(spec)},
        )
        parent = run.id
        seed = spec.options.get("seed", settings.seed)
        options = ", ".join(f"{key}={value}" for key, value in sorted(spec.options.items()) if key != "seed")
        sha256 = registry.version(spec.name, version).sha256
        page = card.render(
            name=spec.name,
            version=version,
            family=spec.family,
            metric=family.primary,
            dataset=judgement.dataset,
            split=judgement.split,
            rows=rows,
            evaluation=evaluation,
            report=report,
            notes=judgement.notes,
            purpose=family.purpose if isinstance(family, Explains) else "",
            limits=family.limits if isinstance(family, Explains) else (),
            tags={**common, "run_id": run.id, "sha256": sha256, "seed": seed, "options": options},
        )
        run.log_text(page, CARD)
    for row in rows:
        if "metrics" in row:
            nested = {**common, "candidate": row["candidate"], "mlflow.parentRunId": parent}
            with registry.run(spec.name, row["candidate"], nested) as child:
                child.log_params(
                    {"candidate": row["candidate"], "baseline": row["baseline"], **_settings(evaluations, row)}
                )
                child.log_metrics(_numbers([row], row["candidate"]))
    registry.set_alias(spec.name, "challenger", version)
    return Registered(spec.name, version, parent)


@cache
def code_commit() -> str:
    """Commit of the code that trains, with "-dirty" behind it where files differ from it; "" outside a checkout."""
    here = Path(__file__)
    for command in (
        ["git", "ls-files", "--error-unmatch", here.name],  # a checkout around an installed copy is not its history
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
    ):
        try:
            done = subprocess.run(command, cwd=here.parent, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return ""
    return done.stdout.strip()


def settle(
    settings: Settings, registered: Registered, report: GateReport, *, actor: str, key: str | None = None
) -> Outcome:
    """Carry out the verdict: promote, or write down why not. Both stand in the promotion ledger.

    Parameters
    ----------
    key : names this attempt, so that one killed after the promotion can be repeated; see `store.promotions.promote`.
    """
    registry = Registry(settings)
    body = report.to_dict()
    expected = report.champion_version
    if not report.promoted:
        record_refusal(
            settings,
            registry,
            registered.name,
            registered.version,
            expected=expected,
            actor=actor,
            reason=report.reason,
            report=body,
        )
        return Outcome("keep", report.reason, registered, expected)
    try:
        promote(
            settings,
            registry,
            registered.name,
            registered.version,
            expected=expected,
            actor=actor,
            reason=report.reason,
            report=body,
            key=key,
        )
    except PromotionConflict as conflict:
        champion = registry.alias(registered.name, "champion")
        return Outcome("conflict", str(conflict), registered, champion)
    return Outcome("promote", report.reason, registered, registered.version)


def publish(settings: Settings, spec: Spec, snapshot: SnapshotRef) -> int:
    """Store the current features of every entity, so that serving finds them by id.

    Returns
    -------
    Number of entities; 0 for a family that needs none.
    """
    rows = spec.build().online(snapshot)
    return 0 if rows is None else publish_rows(settings, spec.name, rows, snapshot.as_of)


def _options(spec: Spec) -> str:
    kept = {name: value for name, value in spec.options.items() if name not in PASSING}
    return json.dumps(kept, sort_keys=True, default=str)


def _settings(evaluations: Mapping[str, Evaluation], row: Mapping[str, Any]) -> dict[str, Any]:
    """What a candidate was fitted with, as far as its evaluation tells."""
    details = evaluations[row["candidate"]].details
    own = details.get("settings", {})
    return _flat(own.get(row["candidate"], own) if isinstance(own, Mapping) else {})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"weights": {"a": 1}}` → `{"weights.a": 1}`: MLflow's parameters have one level."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _numbers(rows: Sequence[Mapping[str, Any]], candidate: str) -> dict[str, float]:
    """Flat metrics for MLflow: `auc`, `auc.low`, `auc.high`, …"""
    row = next(row for row in rows if row["candidate"] == candidate)
    flat = {"fit_seconds": float(row["fit_seconds"]), "latency_ms": float(row["latency_ms"])}
    if row["selection"] is not None:
        flat["selection"] = float(row["selection"])
    for name, estimate in row["metrics"].items():
        for part, suffix in (("value", ""), ("low", ".low"), ("high", ".high")):
            if estimate[part] is not None:
                flat[f"{name}{suffix}"] = float(estimate[part])
    return flat
