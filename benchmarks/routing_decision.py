"""Time that a routing decision takes: the analysis of the prompt, and the choice among 10, 50 and 200 models.

    python -m benchmarks.routing_decision --rounds 20000 [--home MERIT_HOME]

No network and no live traffic: what is timed is the gateway's own work for each prompt. Every decision has an id of its
own, so that draws and exploration happen as in traffic; live numbers are read anew every 50 ms, as they are there.
Prompts: an instruction of about 45 tokens, and one with material of about 2,000 and 20,000 tokens. With `--home` also
the champion of the routing policy there, among the models that it knows and others up to 50; no prompt comes twice,
since what it said of one is kept for a while. p50 and p99 over all rounds, after a warm-up. On a busy machine the p99
is the time for which others had the processor; the last column is the p99 of the time that this thread had it.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.choose.catalogue import DOMAINS, Model, Price
from gateway.choose.chooser import Chooser
from gateway.choose.live import Unmeasured
from gateway.choose.policy import PriorPolicy
from gateway.choose.task import analyse
from gateway.configuration.loading import load_configuration
from gateway.prompt import Limits, Options, Prompt, Tenant
from store.settings import Settings

SHORT = (
    "Write a function in Python that checks whether a string is a palindrome, ignoring case and punctuation, and add "
    "three unit tests. Explain the time complexity and why you chose this approach over recursion."
)
MATERIAL = (
    "The quarterly report shows that revenue increased by four percent while customer churn remained stable, and the "
    "team decided to analyse the architecture of the payment service before the next release. "
)


class Busy(Unmeasured):
    """Live numbers for every model, as after a while of traffic."""

    def latency_ms(self, model_id: str) -> float | None:
        return 200.0 + len(model_id)

    def tokens_per_second(self, model_id: str) -> float | None:
        return 80.0 - len(model_id) / 10

    def success_rate(self, model_id: str) -> float | None:  # noqa: ARG002
        return 0.995


def catalogue(count: int, seed: int = 0) -> list[Model]:
    """Models of eight providers with prices and qualities as they are found."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        level = draw.random()
        provider = f"provider{number % 8}"
        made.append(
            Model(
                id=f"{provider}/model-{number}",
                provider=provider,
                name=f"model-{number}",
                context=draw.choice([32_000, 128_000, 200_000, 1_000_000]),
                capabilities=frozenset({"chat", "stream", "tools", "json", "json_schema"})
                | (frozenset({"vision"}) if draw.random() < 0.5 else frozenset())
                | (frozenset({"reasoning"}) if level > 0.7 else frozenset()),
                price=Price(input=50 * 60**level, output=200 * 60**level),
                local=number % 10 == 0,
                region=draw.choice(["eu", "us"]),
                quality={"": 0.45 + 0.45 * level} | {one: 0.4 + 0.5 * level * draw.random() for one in DOMAINS},
                latency_ms=100 + 900 * draw.random(),
                tokens_per_second=30 + 200 * draw.random(),
            )
        )
    return made


def quantiles(call: Callable[[int], object], rounds: int) -> tuple[float, float, float]:
    """p50 and p99, and p99 of the thread's own time, in microseconds."""
    for number in range(min(rounds, 2_000)):
        call(number)
    took, own = [], []
    gc.collect()
    for number in range(rounds):
        start, busy = time.perf_counter_ns(), time.thread_time_ns()
        call(number)
        own.append(time.thread_time_ns() - busy)
        took.append(time.perf_counter_ns() - start)
    took.sort()
    own.sort()
    last = rounds * 99 // 100
    return took[rounds // 2] / 1e3, took[last] / 1e3, own[last] / 1e3


def body(text: str) -> dict[str, Any]:
    return {
        "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": text}]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--home", type=Path, help="where a routing policy was promoted")
    given = parser.parse_args()
    rounds = given.rounds

    print(f"{'':<40}{'p50 µs':>10}{'p99 µs':>10}{'p99 own':>10}")
    for name, text, tokens in (
        ("analyse, 45 tokens", SHORT, 45),
        ("analyse, 2,000 tokens", "Summarize this report in five points:\n" + MATERIAL * 60, 2_000),
        ("analyse, 20,000 tokens", "Summarize this report in five points:\n" + MATERIAL * 600, 20_000),
    ):
        asked = body(text)
        show(name, quantiles(lambda _, asked=asked, tokens=tokens: analyse(asked, "chat", tokens), rounds))

    asked = body(SHORT)
    task = analyse(asked, "chat", 45)
    tenant = Tenant()
    limited = Limits(max_cost=0.05, max_latency_ms=30_000, min_quality=0.3, regions=frozenset({"eu", "us"}))
    for count in (10, 50, 200):
        for label, model, limits in (
            ("auto", "auto", Limits()),
            ("auto with limits", "auto", limited),
            ("cheapest", "cheapest", Limits()),
            ("round-robin", "round-robin", Limits()),
            ("provider/model", "provider0/model-0", Limits()),
        ):
            chooser = Chooser(catalogue(count), PriorPolicy(), Busy())
            prompts = [
                Prompt(f"{number:032x}", tenant, "chat", model, asked, limits, Options()) for number in range(5_000)
            ]
            decide = chooser.decide
            found = quantiles(lambda n, decide=decide, prompts=prompts: decide(prompts[n % 5_000], task), rounds)
            show(f"decide, {count} models, {label}", found)
    if given.home is not None:
        learned(given.home, rounds)


def learned(home: Path, rounds: int) -> None:
    """The decision by a promoted policy, of prompts that it has not seen."""
    from gateway.choose.promoted_policy import PolicyWatch

    policy = PolicyWatch(Settings(home=home)).poll()
    if policy is None:
        raise SystemExit(f"There is no champion of the routing policy in {home}: run `merit demo` there.")
    known = [one for one in load_configuration(Settings(home=home)).models.values() if one.kind == "chat"]
    models = [*known, *catalogue(50)][:50]
    chooser = Chooser(models, policy, Busy())
    prompts = []
    for number in range(rounds + 2_000):
        asked = body(f"{SHORT} This is request {number} of {rounds}.")
        prompts.append(
            (Prompt(f"{number:032x}", Tenant(), "chat", "auto", asked, Limits(), Options()), analyse(asked, "chat", 52))
        )
    fresh = iter(prompts)
    found = quantiles(lambda _: chooser.decide(*next(fresh)), rounds)
    show(f"decide, 50 models, auto, {policy.name}", found)


def show(name: str, found: tuple[float, float, float]) -> None:
    print(f"{name:<40}" + "".join(f"{one:>10.1f}" for one in found))


if __name__ == "__main__":
    main()
