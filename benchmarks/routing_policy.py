"""Routing policies on outcome tables like those of public benchmarks, and on the simulated ledger whose truth is known.

    python -m benchmarks.routing_policy --rows 12000 --seeds 3 --trees 60
    python -m benchmarks.routing_policy --ledger

Tables: `benchmarks.routing_tables`, eight data sets and eleven models; a policy is trained on three quarters, and the
trade-offs 0, 0.1, …, 1 decide for the rest, as `merit route` does: once with prompts divided by chance, once with a
third of the data sets held out as a whole. Area (AIQ) and the share of the best single model's quality at a quarter of
its cost are those of `models.routing.curve`; differences are paired, with 95 % intervals over prompts.

Ledger: 90 simulated days (`features.world.llm_calls`); a policy learns from the calls before the holdout, and the table
shows what the doubly robust estimate says of it beside the truth, which only the simulator knows.

--figure FILE writes the curves of the first table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.routing_tables import table
from features.gist import gists
from models.routing.judging import Drawn, Points, estimate, readings, references
from models.routing.material import prepare
from models.routing.model import RoutingModel, Scale
from models.routing.options import RoutingOptions
from models.routing.outcomes import Outcomes
from models.routing.plots import curves
from models.routing.regret import Worth, worth
from models.routing.tradeoff import Tradeoff, choose
from models.routing.training import fit

STEPS = tuple(round(one / 10, 1) for one in range(11))


def outcomes(frame: pd.DataFrame, group: str | None = None) -> Outcomes:
    """A table as the family reads it."""
    names = tuple(name.removesuffix("|score") for name in frame if name.endswith("|score"))
    score = frame[[f"{name}|score" for name in names]].to_numpy()
    numbers = pd.factorize(frame[group])[0] if group else np.arange(len(frame))
    empty = np.full(score.shape, float("nan"))
    return Outcomes(
        names,
        gists(frame["prompt"].tolist()),
        np.zeros((len(frame), 0), np.float32),
        score,
        frame[[f"{name}|cost" for name in names]].to_numpy(),
        empty,
        empty,
        np.ones(score.shape),
        numbers.astype(np.int64),
        pd.RangeIndex(len(frame)),
    )


def decided(quality: np.ndarray, cost: np.ndarray, knots: Tradeoff, real: Worth) -> Points:
    """What came of the eleven trade-offs."""
    rows = np.arange(len(quality))
    chosen = [choose(quality, cost, knots.weight(one)) for one in STEPS]
    return Points(
        np.stack([real.cost[rows, one] for one in chosen], axis=1),
        np.stack([real.quality[rows, one] for one in chosen], axis=1),
    )


def all_points(model: RoutingModel, judged: Outcomes, train: Outcomes, means: np.ndarray | None) -> dict[str, Points]:
    """The policy, its rivals, and what needs no fit."""
    real = worth(judged)
    vectors = model.vectors(judged.gists)
    quality, cost = model.predict(vectors)
    points = {"blend": decided(quality, cost, model.tradeoff, real)}
    for name, rival in model.rivals.items():
        points[name] = decided(np.clip(rival.predict(vectors), 0, 1), cost, model.rival_tradeoffs[name], real)
    blind = train.score.mean(axis=0), train.cost.mean(axis=0)
    return {**points, **references(real, blind, means, cost)}


def on_table(seed: int, rows: int, trees: int, figure: Path | None) -> None:
    frame = table(seed, rows)
    draw = np.random.default_rng(seed)
    sets = draw.permutation(frame["group"].unique())[: len(frame["group"].unique()) // 3]
    sides = {
        "prompts by chance": (draw.random(len(frame)) < 0.25, None),
        f"data sets held out: {', '.join(sets)}": (frame["group"].isin(sets).to_numpy(), "group"),
    }
    for title, (held, group) in sides.items():
        options = RoutingOptions(trees=trees, threads=2)
        begin = time.perf_counter()
        train, judged = outcomes(frame[~held], group), outcomes(frame[held])
        model = fit("blend", prepare(train, options), options, Scale())
        took = time.perf_counter() - begin
        level = frame[~held].groupby("group")[[f"{name}|score" for name in train.models]].mean()
        means = None if group else level.reindex(frame[held]["group"]).to_numpy()
        points = all_points(model, judged, train, means)
        drawn = Drawn.of(np.arange(len(judged)), 300, seed)
        real = worth(judged)
        read = {name: readings(one, real, drawn) for name, one in points.items()}
        print(f"\n**Table {seed}, {title}** ({len(train):,} rows learned from in {took:.0f} s, {len(judged):,} judged)")
        print()
        print("| | area | blend − it | kept at a quarter of the cost |\n|---|---|---|---|")
        for name, own in read.items():
            ahead = "" if name == "blend" else told(read["blend"]["aiq"] - own["aiq"], sign=True)
            print(f"| {name} | {told(own['aiq'])} | {ahead} | {told(own['kept_at_quarter'])} |")
        if figure and not group:
            shown = {name: points[name] for name in ("task_mean", "length", "dataset mean", "oracle")}
            cost, quality = real.cost.mean(axis=0), real.quality.mean(axis=0)
            made = curves(points["blend"], shown, judged.models, cost, quality, "blend")
            figure.write_bytes(made["cost_quality.png"])
            figure = None


def told(values: np.ndarray, *, sign: bool = False) -> str:
    found = estimate(values)
    mark = "+" if sign else ""
    return f"{found.value:{mark}.4f} [{found.low:{mark}.4f}, {found.high:{mark}.4f}]"


def on_ledger(seed: int, days: int, calls: float, trees: int) -> None:
    from features.snapshot import read_dataset, take
    from features.world.llm_calls import build_llm_world
    from models.lifecycle.statistics import pair, paired_bootstrap
    from models.routing.family import RoutingFamily
    from models.routing.outcomes import outcomes as read_outcomes
    from store.settings import Settings

    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        truth = build_llm_world(settings, days=days, calls_per_day=calls, seed=seed, end=date(2026, 11, 29)).frame()
        truth = truth.set_index("id")
        family = RoutingFamily(RoutingOptions(trees=trees, threads=2))
        ref = family.dataset(take(settings, ["llm_calls"]), Path(home) / "datasets")
        split = family.split(read_dataset(ref), ref.roles)
        judged = read_outcomes(split.holdout, ref.roles)
        print(f"\n**Simulated ledger, seed {seed}**: {split.rule}.\n")
        print("| | area, doubly robust | area, truth | kept at a quarter, truth | regret against blind |")
        print("|---|---|---|---|---|")
        blind = None
        for candidate in family.candidates():
            model = family.fit(candidate, split.train, ref.roles, {})
            found = family.evaluate(model, split.holdout, split.train, ref.roles)
            own = judged.for_models(model.models)
            quality = truth.loc[own.keys, [f"quality:{name}" for name in model.models]].to_numpy()
            cost = truth.loc[own.keys, [f"cost:{name}" for name in model.models]].to_numpy() / 1e9
            real = Worth(quality, cost, quality, cost, 0.0)
            points = decided(*model.predict(model.vectors(own.gists, own.task)), model.tradeoff, real)
            read = readings(points, real, Drawn.of(np.arange(len(own)), 200, seed))
            blind = blind or found
            test = paired_bootstrap(pair(blind.losses, found.losses))
            aiq = found.metrics["aiq"]
            print(
                f"| {candidate.name} | {aiq.value:.4f} [{aiq.low:.4f}, {aiq.high:.4f}] | {told(read['aiq'])} | "
                f"{told(read['kept_at_quarter'])} | {-test.difference:+.4f} [{-test.high:+.4f}, {-test.low:+.4f}] |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trees", type=int, default=60)
    parser.add_argument("--ledger", action="store_true")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--calls", type=float, default=330.0)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    if given.ledger:
        on_ledger(7, given.days, given.calls, given.trees)
        return
    for seed in range(given.seeds):
        on_table(seed, given.rows, given.trees, given.figure if seed == 0 else None)


if __name__ == "__main__":
    main()
