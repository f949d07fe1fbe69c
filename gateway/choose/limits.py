"""Which models may answer at all: the limits that nothing lifts, and why each other model is left out.

What can be told from a request's limits and needs alone is told once and kept as a `Group`: kind, workspace, providers,
exclusions, locality, region and capabilities, with the numbers of the models that are left side by side. What depends
on the prompt or on the moment is checked for every call, by `admitted`: context window, longest answer, availability,
cost, quality and time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.choose.catalogue import CAPABILITIES, Model, Price
from gateway.choose.decision import Task
from gateway.choose.live import Live
from gateway.choose.policy import Policy, PriorPolicy
from gateway.money import NANOS_PER_DOLLAR
from gateway.prompt import Limits
from store.errors import InvalidValue

# Providers count tokens each in their own way: so much more than counted here must fit into the context.
ROOM, ROOM_TOKENS = 1.05, 16
_MOST_GROUPS = 256
_BIT = {name: 1 << place for place, name in enumerate(CAPABILITIES)}
# Who keeps to a schema can write JSON.
_IMPLIED = {"json_schema": "json"}


@dataclass(frozen=True, slots=True)
class Rates:
    """What tokens cost at each model of a group, in nanos, for prompts of one price tier.

    Attributes
    ----------
    reserve_input, reserve_output : of the dearest kind that a token may turn out to be; audio only where it is needed.
    reserve_hour : the same for input of which a part is cached for an hour.
    """

    request: Sequence[float]
    input: Sequence[float]
    output: Sequence[float]
    reserve_input: Sequence[float]
    reserve_output: Sequence[float]
    reserve_hour: Sequence[float]


@dataclass(slots=True)
class Group:
    """Models that one set of limits and needs leaves, in the order of the catalogue.

    Attributes
    ----------
    excluded : id of a model of the right kind → why it is left out.
    tiers : most input tokens at which another price begins, ascending.
    """

    models: tuple[Model, ...]
    excluded: Mapping[str, str]
    kind: str = "chat"
    audio: bool = False
    ids: tuple[str, ...] = ()
    context: Sequence[int] = ()
    longest: Sequence[int] = ()
    least_context: float = math.inf
    least_longest: float = math.inf
    tiers: tuple[int, ...] = ()
    _rates: dict[int, Rates] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = tuple(model.id for model in self.models)
        self.context = [model.context for model in self.models]
        self.longest = [model.max_output for model in self.models]
        self.least_context = min(self.context, default=math.inf)
        self.least_longest = min(self.longest, default=math.inf)
        self.tiers = tuple(sorted({above for model in self.models for above, _ in model.price.tiers}))

    def rates(self, input_tokens: int) -> Rates:
        """Prices of a prompt of so many tokens."""
        tier = sum([input_tokens > above for above in self.tiers]) if self.tiers else 0
        found = self._rates.get(tier)
        if found is None:
            found = self._rates[tier] = _rates([_tier(model.price, input_tokens) for model in self.models], self.audio)
        return found


@dataclass(slots=True)
class Expected:
    """What is expected of each model of a group for one prompt; sequences in the order of the group.

    Attributes
    ----------
    cost : nanos for the expected answer.
    reserve : nanos for the longest answer that is reserved for.
    success : share of calls that are answered just now, 1 where nothing is known.
    share : what online adaptation leaves, 1 for all.
    """

    quality: Sequence[float]
    cost: Sequence[float]
    reserve: Sequence[float]
    latency_ms: Sequence[float]
    success: Sequence[float]
    share: Sequence[float]


class Roster:
    """The catalogue, and the groups that limits made of it.

    Parameters
    ----------
    catalogue : ids are unique.
    """

    def __init__(self, catalogue: Sequence[Model]) -> None:
        self.models = tuple(catalogue)
        self._bits = {model.id: _bits(model.capabilities) for model in self.models}
        self._groups: dict[tuple[object, ...], Group] = {}

    def group(
        self,
        kind: str,
        needs: frozenset[str],
        limits: Limits,
        *,
        stream: bool = False,
        local_only: bool = False,
        allowed: frozenset[str] | None = None,
        only: str | None = None,
    ) -> Group:
        """Models that may answer as far as limits and needs alone can tell.

        Parameters
        ----------
        local_only : as in `limits`, and either is enough.
        allowed : ids and providers that a workspace may use; None: all.
        only : id of the one model that was asked for.

        Raises
        ------
        InvalidValue : a capability that there is not.
        """
        local_only = local_only or limits.local_only
        key = (kind, needs, limits.capabilities, limits.regions, limits.providers, limits.exclude, stream, local_only,
               allowed, only)  # fmt: skip
        found = self._groups.get(key)
        if found is None:
            if len(self._groups) >= _MOST_GROUPS:
                del self._groups[next(iter(self._groups))]
            wanted = needs | limits.capabilities | ({"stream"} if stream else set())
            found = self._groups[key] = self._select(kind, wanted, limits, local_only, allowed, only)
        return found

    def _select(
        self, kind: str, wanted: frozenset[str], limits: Limits, local_only: bool, allowed: frozenset[str] | None,
        only: str | None,
    ) -> Group:  # fmt: skip
        for name in wanted - _BIT.keys():
            raise InvalidValue(
                f"There is no capability {name!r}.",
                remedy=f"Use {', '.join(CAPABILITIES)}.",
                field="merit.capabilities",
                value=name,
            )
        bits = _bits(wanted)
        kept: list[Model] = []
        excluded: dict[str, str] = {}
        for model in self.models:
            if only is not None and model.id != only:
                continue
            if model.restricted and (allowed is None or model.id not in allowed):
                if only is not None:
                    excluded[model.id] = "not allowed in this workspace"
                continue  # others are not even told that there is one
            if model.kind != kind:
                if only is not None:
                    excluded[model.id] = f"for {model.kind}, not for {kind}"
                continue
            why = why_not(model, limits, local_only, allowed)
            if why is None and (missing := bits & ~self._bits[model.id]):
                why = f"lacks {' and '.join(name for name in CAPABILITIES if missing & _BIT[name])}"
            if why is None:
                kept.append(model)
            else:
                excluded[model.id] = why
        return Group(tuple(kept), excluded, kind, "audio" in wanted)


def admitted(
    group: Group, task: Task, limits: Limits, live: Live | None, expected: Expected
) -> tuple[Sequence[int], Mapping[str, str]]:
    """Which of a group may answer this prompt now.

    Parameters
    ----------
    live : None leaves out whether a model is available.

    Returns
    -------
    Places in the group, and why each other model of the catalogue may not.
    """
    count = len(group.ids)
    why: dict[int, str] = {}
    asked, choices = task.most_output_tokens, task.choices
    longest = asked // choices
    needed = int(task.input_tokens * ROOM) + ROOM_TOKENS + longest
    # Of what is embedded every piece has the whole context to itself, and nobody counted the pieces.
    if needed > group.least_context and group.kind == "chat":
        for place, context in enumerate(group.context):
            fits = needed if task.bounded else needed - longest + min(longest, group.longest[place])
            if fits > context:
                why[place] = f"context too small: {context} tokens, {fits} needed"
    if task.bounded and longest > group.least_longest:
        for place, most in enumerate(group.longest):
            if longest > most:
                why.setdefault(place, f"answers too short: at most {most} tokens, {longest} asked for")
    if live is not None:
        unavailable = live.unavailable
        for place, id_ in enumerate(group.ids):
            if (reason := unavailable(id_)) is not None:
                why.setdefault(place, f"unavailable: {reason}")
    if (max_cost := limits.max_cost) is not None:
        most_nanos = max_cost * NANOS_PER_DOLLAR
        for place, reserve in enumerate(expected.reserve):
            if reserve > most_nanos:
                dearest = _dollars(reserve / NANOS_PER_DOLLAR)
                why.setdefault(place, f"too dear: up to ${dearest}, max_cost is ${_dollars(max_cost)}")
    if (min_quality := limits.min_quality) is not None:
        for place, quality in enumerate(expected.quality):
            if quality < min_quality:
                why.setdefault(place, f"not good enough: {quality:.2f} expected, min_quality is {min_quality:.2f}")
    if (max_ms := limits.max_latency_ms) is not None:
        for place, milliseconds in enumerate(expected.latency_ms):
            if milliseconds > max_ms:
                why.setdefault(place, f"too slow: {milliseconds:.0f} ms expected, max_latency_ms is {max_ms:.0f}")
    if not why:
        return range(count), group.excluded
    left = [place for place in range(count) if place not in why]
    return left, {**group.excluded, **{group.ids[place]: reason for place, reason in why.items()}}


def priced(group: Group, task: Task, output_tokens: Sequence[float]) -> tuple[list[float], list[float]]:
    """Expected cost and reservation at each model, in nanos.

    cost = request + input · price + min(expected, most) · price of output; the reservation takes the longest answer and
    the dearest kind of token, so that it covers whatever a provider charges for a call within the bounds.
    """
    rates = group.rates(task.input_tokens)
    given, most, choices = task.input_tokens, task.most_output_tokens, task.choices
    dearest = rates.reserve_hour if task.hour_cache else rates.reserve_input
    cost = [
        request + given * each + (tokens if tokens < most else most) * written
        for request, each, written, tokens in zip(rates.request, rates.input, rates.output, output_tokens, strict=True)
    ]
    if task.bounded or most <= group.least_longest:
        reserve = [
            request + given * each + most * written
            for request, each, written in zip(rates.request, dearest, rates.reserve_output, strict=True)
        ]
    else:
        reserve = [
            request + given * each + min(most, longest * choices) * written
            for request, each, written, longest in zip(
                rates.request, dearest, rates.reserve_output, group.longest, strict=True
            )
        ]
    return cost, reserve


def admissible(
    models: Sequence[Model],
    task: Task,
    limits: Limits,
    live: Live | None = None,
    *,
    kind: str = "chat",
    stream: bool = False,
    allowed: frozenset[str] | None = None,
    policy: Policy | None = None,
) -> tuple[list[Model], dict[str, str]]:
    """Models that may answer, and why each other one of their kind may not; nothing is kept for another call."""
    group = Roster(models).group(kind, task.needs, limits, stream=stream, allowed=allowed)
    estimates = (policy or PriorPolicy()).estimate("", task, group.models)
    cost, reserve = priced(group, task, estimates.output_tokens)
    ones = [1.0] * len(group.models)
    expected = Expected(estimates.quality, cost, reserve, estimates.latency_ms, ones, ones)
    places, excluded = admitted(group, task, limits, live, expected)
    return [group.models[place] for place in places], dict(excluded)


def _dollars(amount: float) -> str:
    """To the nano, without zeros at the end."""
    return f"{amount:.9f}".rstrip("0").rstrip(".")


def why_not(
    model: Model, limits: Limits, local_only: bool = False, allowed: frozenset[str] | None = None
) -> str | None:
    """Why words may not go to a model, in words; None when they may. Parameters are those of `Roster.group`."""
    if allowed is not None and model.id not in allowed and model.provider not in allowed:
        return "not allowed in this workspace"
    if limits.providers and model.provider not in limits.providers:
        return f"provider not asked for: {model.provider}"
    if not limits.exclude.isdisjoint((model.provider, model.id, model.name)):
        return "excluded by the request"
    if (local_only or limits.local_only) and not model.local:
        return "not local"
    if limits.regions and model.region not in limits.regions:
        return "region unknown" if model.region is None else f"in another region: {model.region}"
    return None


def _bits(capabilities: frozenset[str]) -> int:
    bits = 0
    for name in capabilities:
        bits |= _BIT.get(name, 0) | _BIT.get(_IMPLIED.get(name, ""), 0)
    return bits


def _tier(price: Price, input_tokens: int) -> Price:
    for above, dearer in price.tiers:
        if input_tokens > above:
            return dearer
    return price


def _rates(prices: Sequence[Price], audio: bool) -> Rates:
    dearest = [
        max(price.input, price.cached or 0.0, price.cache_write or 0.0, (audio and price.audio_input) or 0.0)
        for price in prices
    ]
    return Rates(
        [price.request for price in prices],
        [price.input for price in prices],
        [price.output for price in prices],
        dearest,
        [max(price.output, price.reasoning or 0.0, (audio and price.audio_output) or 0.0) for price in prices],
        [max(each, price.cache_write_hour or 0.0) for each, price in zip(dearest, prices, strict=True)],
    )
