"""A look at every champion, as a Prefect flow: drift, how it did, its guards; what it finds may start a training."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from prefect import flow, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.flows import Flow

from features.snapshot import utc
from flows.artifacts import artifact_key, mlflow_page
from flows.ending import ended
from flows.environment import current_settings
from flows.run import FLOWS, watcher
from flows.stages import is_transient
from models.families import FAMILIES, Spec
from models.lifecycle.training import run_folder
from models.monitoring import watch
from models.monitoring.keeping import PAGE, keep
from models.monitoring.policy import MonitorPolicy
from models.monitoring.report import HEADLINES, MonitorReport
from models.monitoring.subject import SpecOf, options_of
from store.errors import InvalidValue, MeritError, TrainingError
from store.events import emit
from store.registry import Registry
from store.settings import Settings

DRIFTED, WORSE = "merit.model.drifted", "merit.model.worse"
_MOST_SHOWN = 15


def _name_of_run() -> str:
    given = runtime.flow_run.parameters
    when = f"as of {utc(given['as_of']):%Y-%m-%d %H:%M}" if given.get("as_of") else "latest data"
    return f"monitor {given.get('name') or 'every champion'}, {when}"


def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell whoever listens that nobody looked."""
    error = state.result(raise_on_failure=False)
    reason = str(error) if isinstance(error, BaseException) else (state.message or "")
    payload = {"flow": flow.name, "run": flow_run.name, "run_id": str(flow_run.id), "reason": reason}
    emit(current_settings(), "monitor_failed", payload)


@flow(name="monitor", flow_run_name=_name_of_run, on_failure=[notify_failure])
def monitor(
    name: str | None = None,
    as_of: datetime | None = None,
    thresholds: dict[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Look at champions after their promotion: drift, how they did on what came, whether a guard broke.

    A champion that a guard finds worse than its predecessor is rolled back. Drift and worse results are told as events,
    which start a training of the model where the server has its automations; the gate decides what comes of it.

    Args:
        name: The model to look at. Empty means every model that has a champion.
        as_of: Look only at what was known at this moment. Empty means the end of the data.
        thresholds: Other thresholds than the usual ones, such as {"psi": 0.3, "watch_days": 30}.
    """
    settings = current_settings()
    policy = policy_of(thresholds or {})
    moment = utc(as_of) if as_of else None
    reports, problems = [], []
    for one in [name] if name else champions(settings):
        try:
            reports.append(look_at(one, moment, policy))
        except MeritError as error:
            if name:
                raise
            problems.append(f"{one}: {error}")
    if problems:
        raise TrainingError(f"{len(problems)} of {len(problems) + len(reports)} champions: {' '.join(problems)}")
    told = "; ".join(report["headline"] for report in reports) or "There is no champion to look at."
    return ended(told[:2_000], reports)


@task(
    name="look",
    task_run_name="look at {name}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[2.0, 10.0],
    retry_condition_fn=is_transient,
)
def look_at(name: str, as_of: datetime | None, policy: MonitorPolicy) -> dict[str, Any]:
    """One champion: look, act, keep, tell."""
    settings = current_settings()
    folder = run_folder(settings, name, f"monitor-{runtime.flow_run.id or 'here'}")
    # The frames that are compared can be built again; a night's are not worth keeping.
    with TemporaryDirectory(dir=folder) as frames:
        found = watch.look(
            settings, name, Path(frames), as_of=as_of, policy=policy, spec_of=spec_maker(settings), progress=watcher()
        )
    report = watch.act(settings, found, policy)
    number = keep(settings, report, folder, str(runtime.flow_run.id) if runtime.flow_run.id else None)
    show(settings, report)
    if report.retrain:
        ask_for_training(settings, report, as_of)
    return {**report.to_dict(), "id": number, "page": str(folder / PAGE)}


def champions(settings: Settings) -> list[str]:
    """Models of our families that have a champion."""
    found = []
    for model in Registry(settings).models():
        version = model.aliases.get("champion")
        if version is None:
            continue
        family = model.tags.get("family") or Registry(settings).version(model.name, version).tags.get("family")
        if family in FAMILIES:
            found.append(model.name)
    return found


def policy_of(thresholds: Mapping[str, float]) -> MonitorPolicy:
    """The usual policy with other thresholds.

    Raises
    ------
    InvalidValue : there is no such threshold, it lies outside its range, or it counts something and is no whole number.
    """
    known = MonitorPolicy.__dataclass_fields__
    usual = MonitorPolicy()
    for name, value in thresholds.items():
        if name not in known:
            raise InvalidValue(
                f"There is no threshold {name!r}.", remedy=f"Choose among {', '.join(known)}.", field="thresholds"
            )
        if isinstance(getattr(usual, name), int) and not float(value).is_integer():
            raise InvalidValue(
                f"{name} = {value!r} is no whole number.",
                remedy=f"Write it without decimals, such as {name}={getattr(usual, name)}.",
                field=name,
                value=value,
            )
    return MonitorPolicy(**{name: type(getattr(usual, name))(value) for name, value in thresholds.items()})


def spec_maker(settings: Settings) -> SpecOf:
    """(family, name, options of a version) → what its training flow would train with them."""

    def make(family: str, name: str, options: Mapping[str, Any]) -> Spec:
        module = FLOWS.get(f"train-{family}", ("", ""))[0]
        maker = getattr(import_module(module), f"{family}_spec", None) if module else None
        return cast(Spec, maker(settings, name, **options)) if maker else Spec(family, name, dict(options))

    return make


def ask_for_training(settings: Settings, report: MonitorReport, as_of: datetime | None) -> None:
    """Emit the Prefect event that `flows.automations` starts the training on."""
    kinds = {alarm.kind for alarm in report.alarms}
    emit_event(
        event=DRIFTED if kinds == {"drift"} else WORSE,
        resource={
            "prefect.resource.id": f"merit.model.{report.model}",
            "prefect.resource.name": report.model,
            "merit.family": report.family,
        },
        payload={
            "model": report.model,
            "version": report.version,
            "headline": report.headline,
            "alarms": [alarm.to_dict() for alarm in report.alarms[:_MOST_SHOWN]],
            "parameters": training_parameters(settings, report, as_of),
        },
    )


def training_parameters(settings: Settings, report: MonitorReport, as_of: datetime | None) -> dict[str, Any]:
    """Every parameter of the family's training flow: those that the champion was trained with, else the defaults."""
    module, function = FLOWS.get(f"train-{report.family}", ("", ""))
    given = {"name": report.model, "as_of": as_of.isoformat() if as_of else None}
    if not module:
        return given
    properties: Mapping[str, Mapping[str, Any]] = getattr(import_module(module), function).parameters.properties
    info = Registry(settings).version(report.model, report.version)
    options = options_of(info)
    return {
        name: given.get(name, options.get(name, described.get("default"))) for name, described in properties.items()
    }


def show(settings: Settings, report: MonitorReport) -> None:
    """The report on the page of the run."""
    create_markdown_artifact(
        key=artifact_key("monitor", report.model),
        markdown=markdown(report, mlflow_page(settings, report.model, report.version)),
        description=report.headline[:200],
    )


def markdown(report: MonitorReport, page: str) -> str:
    """Alarms, features that moved most, metrics then and now."""
    lines = [f"# {report.model} v{report.version}: {HEADLINES[report.verdict]}", "", report.headline, ""]
    lines += [f"[The version in MLflow]({page}); the whole page is `monitor.html` of the latest run there.", ""]
    lines += [f"- **{alarm.kind}** {_plain(alarm.about)}: {_plain(alarm.detail)}" for alarm in report.alarms]
    compared = [feature for feature in report.features if feature.psi is not None]
    if compared:
        lines += ["", "| feature | PSI | limit | q | |", "|---|---|---|---|---|"]
        lines += [
            f"| {_plain(one.feature)} | {one.psi:.3g} | {one.limit:.3g} | {one.q_value:.2g} "
            f"| {'**drifted**' if one.drifted else ''} |"
            for one in compared[:_MOST_SHOWN]
        ]
    for truth in report.truths:
        lines += ["", f"## {truth.source.capitalize()} outcomes: {truth.rows}", ""]
        if truth.problem:
            lines.append(truth.problem)
        if truth.metrics:
            lines += ["| metric | now | at promotion | |", "|---|---|---|---|"]
            lines += [
                f"| {one.name} | {one.now.value:.4g} [{one.now.low:.4g}, {one.now.high:.4g}] "
                f"| {f'{one.promised.value:.4g}' if one.promised else '–'} | {'**worse**' if one.worse else ''} |"
                for one in truth.metrics
            ]
    lines += ["", *(f"{note}\n" for note in report.notes)]
    return "\n".join(lines)


def _plain(text: str) -> str:
    return text.replace("|", "\\|")
