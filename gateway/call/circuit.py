"""One circuit: what a breaker knows about a model, or about a provider as a whole."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from gateway.call.providers.wire import FailureKind

State = Literal["closed", "open", "half_open"]

# The caller's fault: the provider did its part.
CALLERS_FAULT: frozenset[FailureKind] = frozenset({"refused", "too_long"})
_BUCKETS = 6


@dataclass(frozen=True, slots=True)
class Policy:
    """When a circuit opens, and for how long.

    Attributes
    ----------
    window_s : seconds over which the share of failures is taken.
    fewest_calls : below so many calls in the window, the share says nothing.
    failure_share : of the calls in the window, that opens it.
    consecutive : so many failures without a success between them open it, however few the calls.
    open_s : of the first opening; each reopening doubles it, up to `longest_open_s`.
    jitter : share of that time that chance may take off, so that gateways do not probe in step.
    forgiven_s : closed for so long, the next opening counts as a first one.
    lease_s : a probe whose outcome nobody tells is given up after so long.
    longest_aside_s : the longest `Retry-After` that is believed.
    """

    window_s: float = 30.0
    fewest_calls: int = 10
    failure_share: float = 0.5
    consecutive: int = 5
    open_s: float = 5.0
    longest_open_s: float = 120.0
    jitter: float = 0.2
    forgiven_s: float = 60.0
    lease_s: float = 180.0
    longest_aside_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A circuit as it is told to people; moments are naive UTC.

    Attributes
    ----------
    key : id of the model, `provider/name`, or name of the provider.
    since : when it came into this state; None: it has always been closed.
    calls, failures : in the window.
    opens : how often it has opened so far.
    next_probe_at : when one call is let through to see; None while closed.
    last_error : kind of the last failure that counted.
    drained : taken out by an operator.
    set_aside_until : the provider asked to be left alone until then.
    """

    key: str
    state: State
    since: datetime | None
    calls: int
    failures: int
    opens: int
    next_probe_at: datetime | None
    last_error: FailureKind | None
    drained: bool
    set_aside_until: datetime | None

    def explain(self) -> dict[str, Any]:
        """JSON of it."""
        moments = {
            name: None if moment is None else moment.isoformat(timespec="milliseconds") + "Z"
            for name, moment in (
                ("since", self.since),
                ("next_probe_at", self.next_probe_at),
                ("set_aside_until", self.set_aside_until),
            )
        }
        return {
            "key": self.key,
            "state": self.state,
            "calls": self.calls,
            "failures": self.failures,
            "opens": self.opens,
            "last_error": self.last_error,
            "drained": self.drained,
            **moments,
        }


@dataclass(frozen=True, slots=True)
class Learned:
    """What one gateway tells the others of a circuit; moments as in `Circuit`, of a clock that they agree on."""

    is_open: bool
    since: float | None
    until: float
    level: int
    aside_until: float
    drained: bool
    last_error: FailureKind | None
    alone: bool

    def moved(self, seconds: float) -> Learned:
        """The same by a clock that shows so many seconds more."""
        return replace(
            self,
            since=None if self.since is None else self.since + seconds,
            until=self.until + seconds if self.is_open else 0.0,
            aside_until=self.aside_until + seconds if self.aside_until else 0.0,
        )


class Permit:
    """Leave to make one call; whoever holds it says how it went.

    While a circuit is closed all its calls share one. A new one is made whenever the circuit opens or closes, so that
    a call that began before does not speak about what came after.
    """

    __slots__ = ("circuit", "probes", "told")

    def __init__(self, circuit: Circuit, probes: tuple[Circuit, ...] = ()) -> None:
        self.circuit = circuit
        # The circuits for which this is the single probe: the model's, its provider's, or both.
        self.probes = probes
        self.told = False

    @property
    def model(self) -> str:
        """Id of the model."""
        return self.circuit.key

    @property
    def is_probe(self) -> bool:
        """Whether a circuit waits for the outcome."""
        return bool(self.probes)


class Circuit:
    """State and counts of one circuit. Moments are of the breaker's clock; written by the event loop's thread alone.

    Attributes
    ----------
    parent : circuit of the provider; None for a provider's own.
    permit : what calls get while it is closed.
    free : `permit` when nothing at all stands in the way, so that the common case is one look; else None.
    until : while open, the moment from which one probe may pass.
    probe, probe_until : the one that is under way, and when it is given up.
    level : openings in a row; decides how long the next one lasts.
    alone : the provider refused this model's calls and took another's with the same key: the key is good.
    """

    __slots__ = (
        "_past", "_width", "alone", "aside_until", "calls", "children", "drained", "failures", "free", "key",
        "last_error", "level", "opens", "parent", "permit", "probe", "probe_until", "since", "state", "streak", "turn",
        "until",
    )  # fmt: skip

    def __init__(self, key: str, parent: Circuit | None, policy: Policy, now: float) -> None:
        self.key = key
        self.parent = parent
        self.children: list[Circuit] = []
        self.state: State = "closed"
        self.since: float | None = None
        self.until = 0.0
        self.level = 0
        self.opens = 0
        self.streak = 0
        self.calls = 0
        self.failures = 0
        self.last_error: FailureKind | None = None
        self.aside_until = 0.0
        self.drained = False
        self.alone = False
        self.probe: Permit | None = None
        self.probe_until = 0.0
        self.turn = now + policy.window_s / _BUCKETS
        self._width = policy.window_s / _BUCKETS
        self._past: deque[tuple[int, int]] = deque(maxlen=_BUCKETS - 1)
        self.permit = Permit(self)
        self.free: Permit | None = None
        if parent is not None:
            parent.children.append(self)
        self.refresh()

    def refresh(self) -> None:
        """Set `free`, also of every model where this is a provider."""
        for one in (self, *self.children):
            parent = one.parent
            way = one.state == "closed" and not one.drained and one.aside_until == 0.0
            if parent is not None:
                way = way and parent.state == "closed" and not parent.drained and parent.aside_until == 0.0
            one.free = one.permit if way else None

    def roll(self, now: float) -> None:
        """Let counts that have left the window go."""
        steps = int((now - self.turn) / self._width) + 1
        self._past.append((self.calls, self.failures))
        for _ in range(min(steps - 1, _BUCKETS - 1)):
            self._past.append((0, 0))
        self.calls = self.failures = 0
        self.turn += steps * self._width

    def counts(self, now: float) -> tuple[int, int]:
        """Calls and failures in the window."""
        if now >= self.turn:
            self.roll(now)
        return self.calls + sum(one for one, _ in self._past), self.failures + sum(one for _, one in self._past)

    def seen(self, now: float) -> tuple[int, int]:
        """As `counts`, but changes nothing: anybody may look, from any thread."""
        told = [*self._past, (self.calls, self.failures)]
        if now >= self.turn:
            steps = int((now - self.turn) / self._width) + 1
            told = told[-(_BUCKETS - steps) :] if steps < _BUCKETS else []
        return sum(one for one, _ in told), sum(one for _, one in told)

    def forget(self) -> None:
        """Begin to count anew, with a permit of its own."""
        self.calls = self.failures = self.streak = 0
        self._past.clear()
        self.probe = None
        self.permit = Permit(self)

    def learned(self) -> Learned:
        """What there is to tell other gateways."""
        return Learned(
            self.state != "closed", self.since, self.until, self.level, self.aside_until, self.drained,
            self.last_error, self.alone,
        )  # fmt: skip

    def take(self, learned: Learned) -> None:
        """Set what another gateway tells, but for the state itself."""
        self.since, self.until, self.level = learned.since, learned.until, learned.level
        self.aside_until, self.drained = learned.aside_until, learned.drained
        self.last_error, self.alone = learned.last_error, learned.alone

    def has_probe(self, now: float) -> bool:
        """Whether a probe is under way."""
        return self.probe is not None and now < self.probe_until

    def is_due(self, now: float) -> bool:
        """Whether a probe may pass now."""
        return self.state != "closed" and now >= self.until and not self.has_probe(now)
