"""The gateway follows a promoted policy: the same prompts are asked before the training and after the promotion.

Whether the choices are better is told by the truth of the simulated models: what each is worth on a task of its domain
and complexity. What they cost is what the calls did cost.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx
import numpy as np

from cli.demo_story import LoopStory
from store.errors import ServiceUnavailable
from store.settings import Settings

SEED = 5
_AT_ONCE = 8
_PATIENCE_S = 30.0
_GREY, _BLUE = "#9a9a9a", "#1f77b4"


@dataclass(frozen=True)
class Call:
    """One call that was answered.

    Attributes
    ----------
    policy : that decided.
    quality : true mean quality of the model's answers to such tasks, 0 to 1; NaN of a model that is not simulated.
    cost : dollars.
    """

    policy: str
    model: str
    quality: float
    cost: float


def prompts() -> list[tuple[str, str, str]]:
    """(domain, complexity, prompt): one of each kind of task, the same in every demo."""
    from features.world.llm.task import COMPLEXITIES
    from features.world.llm.tasks import DOMAINS, draw

    rng = Random(SEED)  # noqa: S311
    return [(one, level, draw(rng, one, level).prompt) for one in DOMAINS for level in COMPLEXITIES]


def ask_all(base: str) -> tuple[Call, ...]:
    """Ask the gateway every prompt, letting it choose and nothing be tried.

    Raises
    ------
    ServiceUnavailable : a call was not answered.
    """
    asked = prompts()
    with httpx.Client(base_url=base, timeout=60) as client, ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(lambda one: _ask(client, *one), asked))


def _ask(client: httpx.Client, domain: str, complexity: str, prompt: str) -> Call:
    answer = _told(client.post("/v1/chat/completions", json=_body(prompt)))
    run = _told(client.get(f"/v1/llm/runs/{answer['merit']['id']}"))
    model = str(run["model"])
    return Call(str(run["policy"]), model, _true_quality(model, domain, complexity), float(run["cost"]))


def _true_quality(model: str, domain: str, complexity: str) -> float:
    from features.world.llm.models import true_quality
    from features.world.llm.offers import MODELS

    return true_quality(MODELS[model], domain, complexity) if model in MODELS else float("nan")


def _body(prompt: str) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": prompt}], "merit": {"explore": False}}


def _told(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code != 200:
        raise ServiceUnavailable(
            f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {answer.text[:300]}",
            remedy="See the log of the API.",
        )
    found: dict[str, Any] = answer.json()
    return found


def follow(settings: Settings, base: str, trained: Any, before: Sequence[Call], story: LoopStory) -> None:
    """The gateway's next calls are the promoted policy's.

    Parameters
    ----------
    trained : what the training came to.
    before : the same prompts, as they were answered before it.

    Raises
    ------
    ServiceUnavailable : it goes on without it.
    """
    if trained.champion is None:
        story.add("the gateway's next calls", "as before", "nothing was promoted", holds=False)
        return
    wanted = f"{trained.model} v{trained.champion}"
    _wait(settings, base, wanted)
    after = ask_all(base)
    decided = sum(one.policy == wanted for one in after)
    moved = sum(old.model != new.model for old, new in zip(before, after, strict=True))
    story.add(
        f"the gateway's next {len(after)} calls",
        f"{decided} by {wanted}; {_worth(after)}",
        f"the same prompts before, by {_policies(before)}: {_worth(before)}; {moved} go to another model",
        holds=decided == len(after),
    )
    story.draw(settings, "next-calls", calls_plot(before, after))


def _wait(settings: Settings, base: str, wanted: str) -> None:
    """Until the gateway decides by a policy."""
    deadline = time.monotonic() + _PATIENCE_S + settings.watch_seconds
    with httpx.Client(base_url=base, timeout=30) as client:
        while True:
            told = _told(client.post("/v1/llm/route", json=_body("Name three rivers in France.")))
            if (policy := str(told["policy"])) == wanted:
                return
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"The gateway decides by {policy!r} still, not by {wanted}.",
                    remedy="See `GET /v1/llm/policy` and the log of the API.",
                )
            time.sleep(0.2)


def _policies(calls: Sequence[Call]) -> str:
    return " and ".join(sorted({one.policy for one in calls})) or "nobody"


def _worth(calls: Sequence[Call]) -> str:
    quality, cost = _means(calls)
    return f"true quality {quality:.3f}, ${1_000 * cost:.3f} a 1,000"


def _means(calls: Sequence[Call]) -> tuple[float, float]:
    """Mean true quality, and dollars a call."""
    qualities = [one.quality for one in calls if np.isfinite(one.quality)]
    return float(np.mean(qualities or [np.nan])), float(np.mean([one.cost for one in calls]))


def calls_plot(before: Sequence[Call], after: Sequence[Call]) -> bytes:
    """PNG: how many of the prompts each model answered before and after."""
    from matplotlib.figure import Figure

    sides = [Counter(one.model for one in calls) for calls in (before, after)]
    models = sorted(set().union(*sides), key=lambda one: (sides[1][one], sides[0][one]))
    figure = Figure(figsize=(9, 1.4 + 0.42 * len(models)), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(models))
    for calls, counts, shift, colour in ((before, sides[0], -0.19, _GREY), (after, sides[1], 0.19, _BLUE)):
        label = f"by {_policies(calls)}: {_worth(calls)}".replace("$", r"\$")
        axis.barh(places - shift, [counts[one] for one in models], height=0.36, color=colour, label=label)
    axis.set_yticks(places, models, fontsize=8)
    axis.set_title(f"Who answers the same {len(after)} prompts, one of each kind", fontsize=9, loc="left")
    axis.tick_params(axis="x", labelsize=7)
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=110, metadata={"Software": None})
    return target.getvalue()
