"""What is expected of a group of models for one prompt: the policy's predictions, corrected by live measurements.

Live numbers are read at most every 50 ms and kept side by side, since a decision must not cost six questions for each
of fifty models. Whether a model may be called at all is asked for every decision, by `gateway.choose.limits`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.choose.decision import Task
from gateway.choose.limits import Expected, Group, priced
from gateway.choose.live import Live
from gateway.choose.policy import Estimates, Policy, PriorPolicy

log = logging.getLogger("merit.choose")

REFRESH_S = 0.05


@dataclass(slots=True)
class Measured:
    """Live numbers of a group, in its order.

    Attributes
    ----------
    until : moment of the clock after which they are read again.
    first_ms : to the first token; None where the model was not measured at all.
    token_ms : for each token after it.
    any : whether the time of one was measured.
    lowered : whether the share of one is below 1.
    rare : how seldom each was chosen of late, for exploration: share / (1 + times).
    """

    until: float
    first_ms: Sequence[float | None]
    token_ms: Sequence[float]
    success: Sequence[float]
    share: Sequence[float]
    rare: Sequence[float]
    any: bool
    lowered: bool


class Outlook:
    """Expectations for decisions.

    Parameters
    ----------
    clock : seconds that never go back.
    """

    def __init__(self, policy: Policy, live: Live, clock: Callable[[], float]) -> None:
        self.policy = policy
        self._priors = PriorPolicy()
        self._live = live
        self._clock = clock
        # By identity of the group, which is held on to so that no other comes by its id.
        self._measured: dict[int, tuple[Group, Measured]] = {}

    def of(self, group: Group, task: Task, text: str, times: Mapping[str, float]) -> tuple[Expected, Measured, str]:
        """Expectations, the live numbers in them, and the name of the policy that they come from.

        expected time = live time to the first token + tokens / live speed where a model is measured, the prior standing
        in for the one of the two that is not; the policy's own estimate otherwise.

        Parameters
        ----------
        times : model → how often it was chosen of late.
        """
        estimates, policy = self._estimate(group, task, text)
        cost, reserve = priced(group, task, estimates.output_tokens)
        measured = self._measurements(group, times)
        latency = estimates.latency_ms
        if measured.any:
            latency = [
                believed if first is None else first + each * tokens
                for believed, first, each, tokens in zip(
                    latency, measured.first_ms, measured.token_ms, estimates.output_tokens, strict=True
                )
            ]
        return Expected(estimates.quality, cost, reserve, latency, measured.success, measured.share), measured, policy

    def _estimate(self, group: Group, task: Task, text: str) -> tuple[Estimates, str]:
        policy = self.policy
        try:
            made = policy.estimate(text, task, group.models)
            # One comparison finds every NaN, infinity and number of the wrong length.
            total = sum(made.quality) + sum(made.output_tokens) + sum(made.latency_ms)
            if 0.0 <= total < 1e15 and len(made.quality) == len(made.output_tokens) == len(made.latency_ms) == len(
                group.models
            ):
                return made, policy.name
            log.error("The policy %s predicts impossible numbers; the catalogue's priors decide.", policy.name)
        except Exception:  # a model that fails to predict must not stop prompts
            log.exception("The policy %s fails; the catalogue's priors decide.", policy.name)
        return self._priors.estimate(text, task, group.models), self._priors.name

    def _measurements(self, group: Group, times: Mapping[str, float]) -> Measured:
        now = self._clock()
        kept = self._measured.get(id(group))
        if kept is not None and kept[0] is group and now < kept[1].until:
            return kept[1]
        if len(self._measured) >= 512:
            self._measured.clear()
        made = self._read(group, times, now + REFRESH_S)
        self._measured[id(group)] = group, made
        return made

    def _read(self, group: Group, times: Mapping[str, float], until: float) -> Measured:
        live = self._live
        first: list[float | None] = []
        each: list[float] = []
        for model in group.models:
            latency, speed = live.latency_ms(model.id), live.tokens_per_second(model.id)
            each.append(1000.0 / max(speed or model.tokens_per_second, 1e-3))
            first.append(latency if latency is not None else model.latency_ms if speed is not None else None)
        rates = [live.success_rate(id_) for id_ in group.ids]
        share = [live.share(id_) for id_ in group.ids]
        rare = [part / (1.0 + times.get(id_, 0.0)) for part, id_ in zip(share, group.ids, strict=True)]
        return Measured(
            until,
            first,
            each,
            [1.0 if rate is None else rate for rate in rates],
            share,
            rare,
            any(one is not None for one in first),
            any(part < 1.0 for part in share),
        )
