"""What goes wrong, as somebody planted it: for how many calls, for how long, with which probability."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from features.world.llm.models import SimulatedModel
from features.world.llm.task import fraction
from gateway.simulated.asked import Refused, invalid

KINDS: Mapping[str, str] = {
    "status": "an error of that status, with Retry-After where retry_after is set",
    "hang": "no answer at all until the client goes away",
    "stall": "a stream says nothing more after so many tokens; a whole answer stops in its middle",
    "close": "the connection closes after so many tokens",
    "malformed": "an event that is no JSON after so many tokens; a whole answer that is none",
    "truncated": "the body ends in the middle as if it were whole",
    "empty": "200 and nothing",
    "content_type": "200 and a page of HTML",
    "slow": "everything takes so many times as long",
    "usage": "tokens are told early, late, twice, never, or on a chunk with choices: see usage",
    "quality": "skill changes by so many logits (factor), silently",
    "price": "costs so many times as much (factor), silently",
}
USAGES = ("early", "late", "twice", "never", "wrong-choices")
_MOST = 1_000


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    kind : one of `KINDS`.
    model : its id, "simulated/nano", or "*" for all.
    calls : how many more calls it strikes; None: no end.
    seconds : for how long from when it was planted; None: no end.
    probability : of striking a call.
    after_tokens : how much of a stream is sent first.
    factor : of "slow", "price" and "quality".
    billed : whether a call that it spoils is charged nevertheless; None: where something was generated.
    """

    kind: str
    model: str = "*"
    calls: int | None = None
    seconds: float | None = None
    probability: float = 1.0
    status: int = 500
    retry_after: float | None = None
    after_tokens: int = 3
    factor: float = 10.0
    usage: str = "never"
    billed: bool | None = None


@dataclass(slots=True)
class Struck:
    """What happens to one call, all its faults together."""

    status: int = 0
    retry_after: float | None = None
    ending: str = ""
    after_tokens: int = 0
    slower: float = 1.0
    usage: str = ""
    shift: float = 0.0
    price: float = 1.0
    billed: bool | None = None


class Faults:
    """Faults planted now, and the failures that the models have by themselves.

    Parameters
    ----------
    own : factor to the models' own share of failures; 0: they fail only when told to.
    """

    def __init__(self, seed: int, own: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.own = own
        self._seed = seed
        self._clock = clock
        self._planted: list[tuple[Fault, float]] = []
        self._calls = 0

    def plant(self, given: Mapping[str, Any]) -> Fault:
        """Add a fault.

        Raises
        ------
        Refused : it has no such field, or a value that makes no sense.
        """
        fault = _checked(given)
        if len(self._planted) >= _MOST:
            raise invalid(f"{_MOST} faults are planted already; clear some.")
        self._planted.append((fault, self._clock()))
        return fault

    def clear(self) -> None:
        self._planted.clear()
        self._calls = 0

    def listed(self) -> list[dict[str, Any]]:
        self._forget()
        return [asdict(fault) for fault, _ in self._planted]

    def strike(self, model: SimulatedModel) -> Struck | None:
        """What happens to the next call of a model; None: nothing, as mostly."""
        self._calls += 1
        failing = model.failures * self.own
        if not self._planted and not failing:
            return None
        found: Struck | None = None
        for number, (fault, since) in enumerate(self._planted):
            if fault.model not in ("*", model.id) or fault.calls == 0:
                continue
            if fault.seconds is not None and self._clock() - since >= fault.seconds:
                continue
            if fault.probability < 1 and fraction(self._seed, number, self._calls) >= fault.probability:
                continue
            if fault.calls is not None:
                fault.calls -= 1
            found = _with(found or Struck(), fault)
        luck = fraction(self._seed, "failure", self._calls) if failing else 1.0
        if luck < failing:
            found = found or Struck()
            found.status = (429, 429, 503, 503, 500, 529)[int(luck / failing * 6)]
            found.retry_after = 1.0 if found.status == 429 else None
        if len(self._planted) > 20:
            self._forget()
        return found

    def _forget(self) -> None:
        now = self._clock()
        self._planted = [
            (fault, since)
            for fault, since in self._planted
            if fault.calls != 0 and (fault.seconds is None or now - since < fault.seconds)
        ]


def _with(struck: Struck, fault: Fault) -> Struck:
    if fault.billed is not None:
        struck.billed = fault.billed
    match fault.kind:
        case "status":
            struck.status, struck.retry_after = fault.status, fault.retry_after
        case "slow":
            struck.slower *= fault.factor
        case "usage":
            struck.usage = fault.usage
        case "quality":
            struck.shift += fault.factor
        case "price":
            struck.price *= fault.factor
        case _:
            struck.ending, struck.after_tokens = fault.kind, fault.after_tokens
    return struck


def _checked(given: Mapping[str, Any]) -> Fault:
    known = {one.name for one in fields(Fault)}
    for name in given:
        if name not in known:
            raise invalid(f"A fault has no field {name!r}; it has {', '.join(sorted(known))}.", name)
    try:
        fault = Fault(**given)
        bad = next(
            (
                name
                for name, fits in (
                    ("kind", fault.kind in KINDS),
                    ("model", isinstance(fault.model, str)),
                    ("calls", fault.calls is None or (isinstance(fault.calls, int) and fault.calls > 0)),
                    ("seconds", fault.seconds is None or fault.seconds > 0),
                    ("probability", 0 < fault.probability <= 1),
                    ("status", isinstance(fault.status, int) and 400 <= fault.status <= 599),
                    ("retry_after", fault.retry_after is None or 0 <= fault.retry_after <= 86_400),
                    ("after_tokens", isinstance(fault.after_tokens, int) and fault.after_tokens >= 0),
                    ("factor", -1_000 <= fault.factor <= 1_000),
                    ("usage", fault.usage in USAGES),
                )
                if not fits
            ),
            None,
        )
    except TypeError as error:
        raise Refused(400, "invalid_request_error", f"This is no fault: {error}.") from None
    if bad is not None:
        raise invalid(f"{bad} = {given.get(bad)!r} makes no sense here; kinds are {', '.join(KINDS)}.", bad)
    return fault
