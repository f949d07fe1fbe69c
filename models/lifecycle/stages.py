"""The stages of a training run, each a typed function from files to files.

A stage reads what earlier stages left in the run's folder and writes its own result there, whole or not at all. So a
run can be resumed after the last finished stage, and stages can run in any process that sees the folder:

    <run folder>/candidates/<name>/   the fitted model, fit.json
    <run folder>/judged/<name>/       its evaluation on the holdout
    <run folder>/final/               what is registered
    <run folder>/gate.json            the verdict
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.snapshot import read_dataset
from models.families import Spec
from models.lifecycle.evaluation import Evaluation
from models.lifecycle.family import Candidate, FitsInPieces, Metric, Model, ModelFamily
from models.lifecycle.gate import GatePolicy, GateReport, decide
from store.dataset import DatasetRef
from store.errors import DataError, InvalidValue, MeritError, TrainingError, UnknownModel
from store.registry import Registry
from store.settings import Settings

CHAMPION = "champion"


@dataclass(frozen=True)
class Fitted:
    """A candidate after its fit, or the reason why there is none.

    Attributes
    ----------
    path : folder of the saved model; "" when the fit failed.
    selection : value of the primary metric out of fold, within the training rows.
    error : why it failed; "" when it did not.
    """

    candidate: str
    baseline: bool
    contender: bool = True
    path: str = ""
    selection: float = float("nan")
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Judged:
    """Where the evaluation of a model on the holdout lies.

    Attributes
    ----------
    path : "" when it could not be judged; `error` says why.
    """

    candidate: str
    path: str
    error: str = ""

    def load(self) -> Evaluation:
        return Evaluation.load(Path(self.path))


@dataclass(frozen=True)
class Incumbent:
    """The current champion on the holdout.

    Attributes
    ----------
    judged : None when there is no champion, or when it cannot answer on these rows.
    version : None when there is no champion.
    problem : why it cannot answer; "" when it can.
    folder : of its model; "" where it cannot answer.
    """

    judged: Judged | None = None
    version: int | None = None
    problem: str = ""
    folder: str = ""


def candidate_names(spec: Spec) -> list[str]:
    """The candidates in an order in which each comes after those that it needs."""
    return [candidate.name for candidate in spec.build().candidates()]


def fit(spec: Spec, name: str, ref: DatasetRef, folder: Path, earlier: Sequence[Fitted] = ()) -> Fitted:
    """Fit one candidate on the training rows.

    A candidate that cannot be fitted does not end the run: the result carries the reason and the others go on.

    Parameters
    ----------
    earlier : results of the candidates that this one needs.
    """
    family = spec.build()
    candidate = _candidate(family, name)

    def failed(reason: str, seconds: float = 0.0) -> Fitted:
        return Fitted(name, candidate.baseline, candidate.contender, seconds=seconds, error=reason)

    missing = [need for need in candidate.needs if not any(one.candidate == need and one.path for one in earlier)]
    if missing and (not candidate.partial or len(missing) == len(candidate.needs)):
        return failed(f"needs {', '.join(missing)}, which could not be fitted")
    start = time.perf_counter()
    try:
        split = family.split(read_dataset(ref), ref.roles)
        fitted = {
            one.candidate: family.load(Path(one.path))
            for one in earlier
            if one.path and one.candidate in candidate.needs
        }
        model = family.fit(candidate, split.train, ref.roles, fitted)
    except DataError:
        raise  # the data are at fault: no other candidate would fare better
    except Exception as error:  # noqa: BLE001 - a library may raise anything; the reason is kept and shown
        return failed(_one_line(error), time.perf_counter() - start)
    target = folder / "candidates" / name
    _replace(target, model)
    seconds = time.perf_counter() - start
    result = Fitted(name, candidate.baseline, candidate.contender, str(target), float(model.selection), seconds)
    (target.parent / f"{name}.json").write_text(json.dumps(asdict(result)), encoding="utf-8")
    return result


def pieces(spec: Spec, ref: DatasetRef) -> dict[str, int]:
    """Candidate → into how many pieces its fit falls, for those of more than one; empty where the family has none."""
    family = spec.build()
    if not isinstance(family, FitsInPieces):
        return {}
    train = family.split(read_dataset(ref), ref.roles).train
    found = {one.name: family.pieces(one, train, ref.roles) for one in family.candidates()}
    return {name: count for name, count in found.items() if count > 1}


def prepare(spec: Spec, name: str, ref: DatasetRef, piece: int) -> None:
    """Do one piece of a candidate's fit ahead. What fails here fails again in `fit`, which tells of it."""
    family = spec.build()
    assert isinstance(family, FitsInPieces)
    with contextlib.suppress(Exception):
        family.prepare(_candidate(family, name), family.split(read_dataset(ref), ref.roles).train, ref.roles, piece)


def by_promise(fitted: Iterable[Fitted], metric: Metric) -> list[Fitted]:
    """Whatever could be fitted: the one that `choose` takes, then who is taken if that one cannot be judged, and so on;
    baselines last."""
    sign = 1 if metric.direction == "lower" else -1

    def promise(one: Fitted) -> tuple[bool, bool, float, str]:
        scored = _is_scored(one)
        return not scored, not one.contender, sign * one.selection if scored else 0.0, one.candidate

    return sorted((one for one in fitted if one.path), key=promise)


def judge_all(fitted: Sequence[Fitted], metric: Metric, judge: Callable[[Fitted, bool], Judged]) -> list[Judged]:
    """Judge whatever could be fitted; one after the other, since latencies are compared.

    Parameters
    ----------
    judge : (what was fitted, whether it is drawn). The first that can be judged is the challenger; it alone is drawn.

    Returns
    -------
    In the order of `fitted`.
    """
    judged: dict[str, Judged] = {}
    for one in by_promise(fitted, metric):
        judged[one.candidate] = judge(one, not any(other.path for other in judged.values()))
    return [judged[one.candidate] for one in fitted if one.candidate in judged]


def _is_scored(one: Fitted) -> bool:
    return not one.baseline and one.selection == one.selection


def judge(spec: Spec, fitted: Fitted, ref: DatasetRef, folder: Path, *, plots: bool = True) -> Judged:
    """Evaluate a fitted candidate on the holdout; one that cannot be judged does not end the run.

    Parameters
    ----------
    plots : whether it may be shown, and is drawn.
    """
    try:
        return _judge(spec.build(), Path(fitted.path), ref, folder / "judged" / fitted.candidate, plots=plots)
    except DataError:
        raise  # the holdout is at fault
    except Exception as error:  # noqa: BLE001 - as in `fit`: the reason is kept and shown
        return Judged(fitted.candidate, "", _one_line(error))


def check_family(settings: Settings, spec: Spec) -> None:
    """Models of two families under one name would take each other's place: what serves one cannot serve the other.

    Raises
    ------
    InvalidValue : the name is that of a registered model of another family.
    """
    try:
        known = Registry(settings).model(spec.name).tags.get("family")
    except UnknownModel:
        return
    if known not in (None, spec.family):
        raise InvalidValue(
            f"{spec.name} is a {known} model; a {spec.family} model cannot compete for its place.",
            remedy=f"Choose another name, such as --name {spec.family}-own.",
            field="name",
            value=spec.name,
        )


def judge_champion(settings: Settings, spec: Spec, ref: DatasetRef, folder: Path) -> Incumbent:
    """Evaluate the current champion on the same holdout."""
    registry = Registry(settings)
    version = registry.alias(spec.name, CHAMPION)
    if version is None:
        return Incumbent()
    try:
        path = registry.fetch(spec.name, version)
        judged = _judge(spec.build(), path, ref, folder / "judged" / ".champion", plots=False)
        return Incumbent(judged, version, folder=str(path))
    except MeritError as error:
        return Incumbent(None, version, error.message)


def choose(fitted: Iterable[Fitted], metric: Metric) -> Fitted:
    """The contender with the best out-of-fold score; a baseline only competes in the gate.

    Raises
    ------
    TrainingError : no candidate besides the baselines could be fitted; the message holds every reason.
    """
    everything = list(fitted)
    # Where no contender came through, a member that did is better than nothing.
    usable = [one for one in by_promise(everything, metric) if _is_scored(one)]
    if not usable:
        reasons = "; ".join(f"{one.candidate}: {one.error}" for one in everything if one.error) or "none was tried"
        raise TrainingError(f"No candidate could be fitted ({reasons}).", remedy="Look at the reasons above.")
    return usable[0]


def gate(
    spec: Spec,
    challenger: Judged,
    baseline: Judged,
    incumbent: Incumbent,
    folder: Path,
    policy: GatePolicy | None = None,
) -> GateReport:
    """The verdict on a challenger; also written to `gate.json`."""
    family = spec.build()
    report = decide(
        challenger.load(),
        baseline=baseline.load(),
        metric=family.primary,
        comparison=family.comparison,
        champion=incumbent.judged.load() if incumbent.judged else None,
        champion_version=incumbent.version,
        champion_problem=DataError(incumbent.problem) if incumbent.problem else None,
        policy=policy,
    )
    (folder / "gate.json").write_text(json.dumps(report.to_dict(), indent=1), encoding="utf-8")
    return report


def finalise(spec: Spec, chosen: Fitted, incumbent: Incumbent, ref: DatasetRef, folder: Path) -> Path:
    """Make what will be registered; returns its folder."""
    family = spec.build()
    champion = family.load(Path(incumbent.folder)) if incumbent.folder else None
    model = family.finalise(family.load(Path(chosen.path)), read_dataset(ref), ref.roles, champion)
    _replace(folder / "final", model)
    return folder / "final"


def split_rule(spec: Spec, ref: DatasetRef) -> str:
    """The split in one sentence."""
    return spec.build().split(read_dataset(ref), ref.roles).rule


def leaderboard(fitted: Iterable[Fitted], judged: Iterable[Judged]) -> list[dict[str, Any]]:
    """One row per candidate, JSON-ready: metrics with intervals, selection, seconds, or why it failed."""
    judged = list(judged)
    evaluations = {one.candidate: one.load() for one in judged if one.path}
    problems = {one.candidate: one.error for one in judged}
    rows = []
    for one in fitted:
        row: dict[str, Any] = {
            "candidate": one.candidate,
            "baseline": one.baseline,
            "selection": one.selection if one.selection == one.selection else None,
            "fit_seconds": round(one.seconds, 3),
        }
        if one.candidate in evaluations:
            evaluation = evaluations[one.candidate]
            row |= {
                "latency_ms": round(evaluation.latency_ms, 4),
                "metrics": {name: estimate.to_dict() for name, estimate in evaluation.metrics.items()},
            }
        if reason := one.error or problems.get(one.candidate, ""):
            row["error"] = reason
        rows.append(row)
    return rows


def _judge(family: ModelFamily, path: Path, ref: DatasetRef, target: Path, *, plots: bool) -> Judged:
    split = family.split(read_dataset(ref), ref.roles)
    evaluation = family.evaluate(family.load(path), split.holdout, split.train, ref.roles)
    temporary = target.with_name(target.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    evaluation.save(temporary, plots=plots)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    return Judged(evaluation.candidate, str(target))


def _replace(target: Path, model: Model) -> None:
    """Save into a folder beside the target and rename: a killed process leaves no half model."""
    temporary = target.with_name(target.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    model.save(temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def _candidate(family: ModelFamily, name: str) -> Candidate:
    for candidate in family.candidates():
        if candidate.name == name:
            return candidate
    raise TrainingError(
        f"{family.name} has no candidate {name!r}.",
        remedy=f"Its candidates are {', '.join(candidate.name for candidate in family.candidates())}.",
    )


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
