"""The score from words: how long it takes, how it agrees with the truth, and how soon a drop of quality is noticed.

    python -m benchmarks.quality_score --answers 6000

Agreement: answers of the simulated models to drawn tasks, whose quality is known; the area under the ROC curve of the
score against "at least half right", and of the length of the answer in characters beside it. Time: one answer of about
250 tokens and its prompt, median and 99th percentile. Drops: scores of known distributions, 300 before the drop; and
how often an alarm comes while nothing has dropped.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from random import Random

import numpy as np

from features.world.llm.answers import open_answer
from features.world.llm.logging_policy import CHAT
from features.world.llm.models import true_quality
from features.world.llm.replies import reply_to
from features.world.llm.task import COMPLEXITIES, drawn_from
from features.world.llm.tasks import DOMAINS, draw
from features.world.llm.tokens import count
from gateway.improve.adaptation_drop import DropDetector
from models.quality.heuristic import judged, score
from models.quality.metrics import auc
from models.quality.shown import read
from models.quality.wanted import wanted

Draw = Callable[[Random], float]


def agreement(answers: int, seed: int = 3) -> list[tuple[str, int, float, float]]:
    """Kind of task, answers, area under the curve of the score and of the length."""
    rng = drawn_from("agreement", seed)
    rows = []
    for number in range(answers):
        task = draw(rng, rng.choice(DOMAINS), rng.choice(COMPLEXITIES))
        model = rng.choice(CHAT)
        reply = reply_to(model, task, true_quality(model, task.domain, task.complexity), "answer", number)
        value = score(task.prompt, reply.text, "stop").score
        rows.append((task.kind, task.closed, reply.quality, value, float(len(reply.text))))
    kinds = np.array([row[0] for row in rows])
    closed, truth, scores, lengths = (np.array([row[place] for row in rows], float) for place in range(1, 5))
    groups = {"all": closed >= 0, "open": closed == 0, "closed": closed == 1}
    groups |= {str(kind): kinds == kind for kind in sorted(set(kinds)) if kind != "open"}
    return [
        (name, int(of.sum()), auc(truth[of], scores[of]), auc(truth[of], lengths[of])) for name, of in groups.items()
    ]


def times(rounds: int = 2_000) -> list[tuple[str, float, float]]:
    """Step, median and 99th percentile in microseconds."""
    rng = Random(5)
    task = draw(rng, "writing", "expert")
    answer = " ".join(" ".join(open_answer(task, 0.9, rng) for _ in range(3)).split()[:230]) + "."
    asked, shown = wanted(task.prompt), read(answer)
    steps: dict[str, Callable[[], object]] = {
        "the prompt": lambda: wanted(task.prompt),
        f"the answer, {count(answer)} tokens": lambda: read(answer),
        "the parts": lambda: judged(asked, shown, "stop"),
        "all together": lambda: score(task.prompt, answer, "stop"),
    }
    # As a worker does when it has started.
    gc.collect()
    gc.freeze()
    return [(name, *_timed(step, rounds)) for name, step in steps.items()]


def _timed(step: Callable[[], object], rounds: int) -> tuple[float, float]:
    took = []
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        step()
        took.append((time.perf_counter_ns() - begin) / 1_000)
    return float(np.median(took)), float(np.quantile(took, 0.99))


def spread(mean: float) -> Draw:
    return lambda rng: min(1.0, max(0.0, rng.gauss(mean, 0.15)))


def right(chance: float) -> Draw:
    return lambda rng: float(rng.random() < chance)


def delays(before: Draw, after: Draw, runs: int) -> list[float]:
    """Scores until the alarm: 10, 50 and 90 % of runs; a run without one counts as 3,000."""
    found = []
    for seed in range(runs):
        rng, detector = Random(seed), DropDetector()
        for number in range(3_300):
            if detector.take("any", (before if number < 300 else after)(rng)) and number >= 300:
                found.append(number - 300)
                break
        else:
            found.append(3_000)
    return [float(one) for one in np.quantile(found, (0.1, 0.5, 0.9))]


def false_alarms(steady: Draw, runs: int, most: int = 12_000) -> float:
    """Scores for each alarm while nothing has dropped; all of them where there was none."""
    alarms = scores = 0
    for seed in range(runs):
        rng, detector = Random(seed), DropDetector()
        for _ in range(most):
            scores += 1
            if detector.take("any", steady(rng)):
                alarms += 1
                break
    return scores / max(1, alarms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=6_000)
    parser.add_argument("--runs", type=int, default=40)
    given = parser.parse_args()
    for name, answers, own, length in agreement(given.answers):
        print(f"{name:12} {answers:6} answers  AUC of the score {own:.3f}, of the length {length:.3f}")
    for name, median, late in times():
        print(f"{name:28} {median:7.1f} µs, p99 {late:7.1f} µs")
    for title, before, after in (
        ("0.85 to 0.60 on average", spread(0.85), spread(0.60)),
        ("0.80 to 0.65 on average", spread(0.80), spread(0.65)),
        ("90 to 60 % right", right(0.9), right(0.6)),
        ("80 to 60 % right", right(0.8), right(0.6)),
    ):
        low, median, high = delays(before, after, given.runs)
        print(f"{title:26} noticed after {median:.0f} scores [{low:.0f}, {high:.0f}]")
    for title, steady in (
        ("0.85 on average", spread(0.85)),
        ("50 % right", right(0.5)),
        ("90 % right", right(0.9)),
        ("98 % right", right(0.98)),
    ):
        print(f"{title:26} an alarm in {false_alarms(steady, given.runs):,.0f} scores")


if __name__ == "__main__":
    main()
