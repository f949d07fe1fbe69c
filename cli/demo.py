"""`merit demo`: the main job, from raw data to a promoted model that answers requests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
import typer

from cli import services
from cli.demo_gateway import GatewayStory, show_gateway
from cli.demo_loop import CALLS_PER_DAY, show_loop, tell_loop
from cli.demo_questions import ask_all
from cli.demo_story import LoopStory, figures_of
from cli.ingest import load_tables
from cli.leaderboard import show_leaderboard
from cli.output import AsJson, dump, errors, screen, show, steps
from cli.session import actor, prepared
from cli.up import await_servers, begin_servers
from cli.world import END
from store.errors import ServiceUnavailable
from store.settings import Settings

TRAININGS = ("train-forecasting", "train-churn", "train-segmentation", "train-pricing")

# With --quick: what each training is asked for.
QUICK: Mapping[str, Mapping[str, Any]] = {
    "train-forecasting": {"members": ["DynamicOptimizedTheta", "GlobalBoosting"]},
    "train-churn": {"folds": 2},
}


@dataclass
class Story:
    """What happened, for the table at the end."""

    data: list[dict[str, Any]] = field(default_factory=list)
    trainings: list[Any] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    gateway: GatewayStory = field(default_factory=GatewayStory)
    loop: LoopStory = field(default_factory=LoopStory)
    seconds: dict[str, float] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)


def demo(
    customers: Annotated[int, typer.Option(help="Customers of the demo world.", min=500)] = 2000,
    days: Annotated[int, typer.Option(help="Days of history.", min=240)] = 500,
    llm_calls: Annotated[
        float, typer.Option(help="Calls a day of the ninety that the gateway learns from; 0 leaves that out.", min=0)
    ] = CALLS_PER_DAY,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the forecasting models that take longest: in half the time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build a world, train and promote four families through Prefect, serve them, ask them; then let the gateway learn
    from ninety days of its own calls, and measure what comes of it; and stop again."""
    started = time.perf_counter()
    settings = _with_free_ports(prepared())
    story = Story()
    with services.Services() as running:
        # They get ready while the data are made and loaded.
        starting = _timed(story, "start servers", lambda: begin_servers(running, settings))
        as_of = _data(settings, customers, days, story)
        env = _timed(story, "wait for the servers", lambda: await_servers(running, settings, starting, deploy=False))
        settings = settings.model_copy(update={"prefect_api_url": env["PREFECT_API_URL"]})
        for flow in TRAININGS:
            given = {"as_of": as_of, **(QUICK.get(flow, {}) if quick else {})}
            _timed(story, flow, lambda flow=flow, given=given: story.trainings.append(_train(settings, flow, **given)))
        champions = [one.model for one in story.trainings if one.champion is not None]
        _timed(story, "start the API", lambda: _start_api(running, settings, env, champions))
        url = f"http://{settings.host}:{settings.port}"
        story.answers = _timed(story, "ask the API", lambda: ask_all(settings, url, champions))
        story.gateway = _timed(story, "ask the LLM gateway", lambda: show_gateway(settings, url))
        if llm_calls:
            story.loop = show_loop(
                settings,
                url,
                lambda flow, given: _train(settings, flow, **given),
                lambda label, work: _timed(story, label, work),
                calls_per_day=llm_calls,
            )
        story.urls = {
            "API": f"{url}/docs",
            "Prefect UI": f"http://127.0.0.1:{settings.prefect_port}",
            "MLflow UI": f"http://127.0.0.1:{settings.mlflow_port}",
        }
        errors.print("Stopping the servers …", style="dim")
    story.seconds["in all"] = time.perf_counter() - started
    _tell(story, settings, as_json=as_json)


def _with_free_ports(settings: Settings) -> Settings:
    """A demo does not fail because something else uses a port: it takes another one."""
    changes = {
        name: services.free_port()
        for name, host in (
            ("port", settings.host),
            *((f"{server}_port", "127.0.0.1") for server in ("prefect", "mlflow", "simulator")),
        )
        if not services.claim(host, getattr(settings, name))
    }
    return settings.model_copy(update=changes)


def _data(settings: Settings, customers: int, days: int, story: Story) -> Any:
    from features.world import build

    def make() -> Any:
        with steps() as report:
            return build(
                settings.root / "world",
                customers=customers,
                days=days,
                seed=settings.seed,
                end=END.date(),
                progress=lambda done, total, label: report(f"world: {label}", done, total),
            )

    made = _timed(story, "build the world", make)
    story.data = _timed(story, "validate and load", lambda: load_tables(settings, made.folder / "tables"))
    return made.as_of


def _train(settings: Settings, flow: str, **given: Any) -> Any:
    from flows.run import run_flow

    with steps() as report:
        return run_flow(
            settings,
            flow,
            given,
            actor=actor(),
            progress=lambda label, done, total: report(f"{flow}: {label}", done, total),
        )


def _start_api(
    running: services.Services, settings: Settings, env: Mapping[str, str], champions: Sequence[str]
) -> None:
    ports = {
        "MERIT_PORT": str(settings.port),
        "MERIT_HOST": settings.host,
        "MERIT_SIMULATOR_PORT": str(settings.simulator_port),
    }
    simulator = running.start(services.simulator(settings, env))
    running.wait(simulator)
    api = running.start(services.api(settings, {**env, **ports}))
    with steps() as report:
        report("API: load the champions", 0, 1)
        running.wait(api)
        url = f"http://{settings.host}:{settings.port}/readyz?" + "&".join(f"models={name}" for name in champions)
        deadline = time.monotonic() + 60
        with httpx.Client(timeout=10) as client:
            while (answer := client.get(url)).status_code != 200:
                if time.monotonic() > deadline:
                    raise ServiceUnavailable(f"The API is up but not ready: {answer.text}", remedy=f"See {api.log}.")
                time.sleep(0.2)


def _timed(story: Story, label: str, work: Any) -> Any:
    start = time.perf_counter()
    result = work()
    story.seconds[label] = time.perf_counter() - start
    errors.print(f"[green]✓[/] {label} ({story.seconds[label]:.0f} s)", highlight=False)
    return result


def _tell(story: Story, settings: Settings, *, as_json: bool) -> None:
    if as_json:
        trainings = [
            {"model": one.model, "version": one.version, "verdict": one.verdict, "reason": one.reason, **one.report}
            for one in story.trainings
        ]
        gateway = {"steps": story.gateway.steps, "usage": story.gateway.usage}
        dump(
            {
                "data": story.data,
                "trainings": trainings,
                "answers": story.answers,
                "gateway": gateway,
                "loop": {"rows": story.loop.rows, "policy": story.loop.policy, "figures": story.loop.figures},
                "seconds": story.seconds,
            }
        )
        return
    screen.print()
    show(story.data, ["table", "read", "inserted", "unchanged", "quarantined"], as_json=False, title="Data")
    for one in story.trainings:
        screen.print()
        show_leaderboard(one.report, title=f"{one.model}: {one.report['split']}")
        verdict = {"promote": "promoted", "keep": "not promoted"}.get(one.verdict, one.verdict)
        screen.print(f"→ {one.model} v{one.version} {verdict}: {one.reason}", highlight=False, markup=False)
    screen.print()
    for one in story.answers:
        screen.print(one["request"], style="bold", highlight=False, markup=False)
        line = f"  {one['answer']}  ({one['model']}, median {one['median ms']} ms)"
        screen.print(line, highlight=False, markup=False)
    screen.print()
    for step in story.gateway.steps:
        screen.print(step["request"], style="bold", highlight=False, markup=False)
        screen.print(f"  {step['answer']}", highlight=False, markup=False)
    screen.print()
    columns = ["model", "outcome", "calls", "input_tokens", "output_tokens", "cost"]
    show(story.gateway.usage, columns, as_json=False, title="The ledger, by model")
    screen.print()
    if story.loop.rows:
        tell_loop(story.loop)
        screen.print(f"A figure of each is in {figures_of(settings)}.", style="dim", highlight=False)
        screen.print()
    took = ", ".join(f"{label} {seconds:.0f} s" for label, seconds in story.seconds.items())
    screen.print(f"Took: {took}.", style="dim", highlight=False)
    urls = ", ".join(f"{name} {url}" for name, url in story.urls.items())
    screen.print(f"`merit up` keeps it running: {urls}.", style="dim", highlight=False)
    screen.print(
        f"Everything lies in {settings.root}; delete that folder to start again.", style="dim", highlight=False
    )
