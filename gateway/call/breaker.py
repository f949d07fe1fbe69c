"""Circuit breakers: one source of truth about which model may be called now.

    closed ── too many failures ──▶ open ── its time is over ──▶ half open ── the one probe succeeds ──▶ closed
                                     ▲                               │
                                     └──────── the probe fails ──────┘

A circuit for each model and one for each provider: a key that is refused closes all models of its provider at once. A
provider that says when to come back (`Retry-After` with 429) is left alone until then without counting as broken. What
the caller got wrong counts for nobody.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from gateway.call.circuit import CALLERS_FAULT, BreakerState, Circuit, Learned, Permit, Policy
from gateway.call.providers.wire import FailureKind
from store.tables.base import utc_now

__all__ = ["BreakerState", "Breakers", "Permit", "Policy", "Sharing"]


class Sharing(Protocol):
    """Lets several gateways agree; see `gateway.call.breaker_sharing`."""

    def changed(self, circuit: Circuit) -> None:
        """A circuit opened or closed here, was set aside, drained or reset."""

    def may_probe(self, circuits: tuple[Circuit, ...]) -> bool:
        """Whether this gateway holds the one probe of each; where it does not, it begins to ask for it."""

    def probe_ended(self, circuit: Circuit) -> None:
        """This gateway needs a probe no longer."""

    async def ask_to_probe(self, circuits: tuple[Circuit, ...]) -> bool:
        """Wait until it is known whether this gateway may probe."""


class Breakers:
    """Circuits of all models and providers. Used from one event loop, never waits; other threads may look.

    Parameters
    ----------
    clock : seconds that never go back.
    on_change : told of every circuit that changed here, after it did; what other gateways learned, they tell.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        policy: Policy | None = None,
        *,
        rng: random.Random | None = None,
        on_change: Callable[[BreakerState], None] | None = None,
    ) -> None:
        self.clock = clock
        self.policy = policy or Policy()
        self.sharing: Sharing | None = None
        self.on_change = on_change
        self._rng = rng or random.Random()  # noqa: S311  spreads probes; nothing secret
        self._known: frozenset[str] | None = None
        self._models: dict[str, Circuit] = {}
        self._providers: dict[str, Circuit] = {}

    def admit(self, model_id: str) -> Permit | None:
        """Leave to call a model; None: not now, `why_closed_to` says why.

        Every permit must end in `succeeded`, `failed` or `abandoned`.
        """
        circuit = self._models.get(model_id)
        if circuit is None:
            circuit = self.circuit(model_id)
        return circuit.free or self._consider(circuit)

    async def admit_probe(self, model_id: str) -> Permit | None:
        """As `admit`; where gateways share their breakers and a probe is due, waits to learn whose it is."""
        permit = self.admit(model_id)
        if permit is None and self.sharing is not None:
            circuit = self.circuit(model_id)
            due = self._due(circuit, self.clock())
            if due and await self.sharing.ask_to_probe(due):
                return self.admit(model_id)
        return permit

    def succeeded(self, permit: Permit) -> None:
        """The call was answered."""
        circuit = permit.circuit
        if permit is circuit.permit:
            if (now := self.clock()) >= circuit.turn:
                circuit.roll(now)
            circuit.calls += 1
            circuit.streak = 0
            circuit.alone = False
            return
        if permit.told:
            return
        permit.told = True
        for probed in permit.probes:
            if probed.probe is permit:
                if probed is not circuit:
                    # Whoever was refused with this same key was refused for something else.
                    for other in probed.children:
                        other.alone = other.state != "closed" and other.last_error == "credentials"
                self._close(probed)

    def failed(self, permit: Permit, kind: FailureKind, retry_after: float | None = None) -> None:
        """The call failed.

        Parameters
        ----------
        retry_after : seconds that the provider asked for.
        """
        circuit, now = permit.circuit, self.clock()
        if kind in CALLERS_FAULT:
            self.abandoned(permit)
            return
        current = permit is circuit.permit
        if permit.told or not (current or any(one.probe is permit for one in permit.probes)):
            return  # It began before the circuit opened or closed: that has been dealt with.
        permit.told = not current
        wait = min(max(retry_after or 0.0, 0.0), self.policy.longest_aside_s)
        if kind == "overloaded" and retry_after is not None:
            self._set_aside(circuit, now + wait)
            self._give_back(permit)
            return
        circuit.last_error = kind
        if kind == "credentials":
            self._refused_key(permit, now, wait)
            return
        if not current:
            # Only what says something about the provider itself keeps its other models waiting.
            for probed in permit.probes:
                if probed is not circuit and kind == "connect":
                    self._open(probed, now, wait)
            self._give_back(permit)
            self._open(circuit, now, wait)
            return
        calls, failures = circuit.counts(now)
        circuit.calls += 1
        circuit.failures += 1
        circuit.streak += 1
        calls, failures = calls + 1, failures + 1
        policy = self.policy
        if circuit.streak >= policy.consecutive or (
            calls >= policy.fewest_calls and failures >= policy.failure_share * calls
        ):
            self._open(circuit, now, wait)
        elif wait:
            self._set_aside(circuit, now + wait)

    def abandoned(self, permit: Permit) -> None:
        """The call came to no end that says anything about the model; a probe is given back."""
        if permit.probes and not permit.told:
            permit.told = True
            self._give_back(permit)

    def why_closed_to(self, model_id: str) -> str | None:
        """Why a model may not be called now, in words; None when it may."""
        circuit = self._models.get(model_id) or self.circuit(model_id)
        if circuit.free is not None:
            return None
        now = self.clock()
        for one in self._line(circuit):
            named = "" if one is circuit else f"the provider {one.key}: "
            if one.drained:
                return f"{named}drained by an operator"
            if one.aside_until > now:
                return f"{named}the provider asked to be left alone for another {one.aside_until - now:.1f} s"
            if one.has_probe(now):
                return f"{named}half open, one probe is under way (last failure: {one.last_error})"
            if one.state != "closed" and one.until > now:
                return f"{named}circuit open for another {one.until - now:.1f} s (last failure: {one.last_error})"
        return None

    def ready_in(self, model_id: str) -> float | None:
        """Seconds until a model may be called, 0 for now; None: an operator drained it.

        While a probe is under way nobody knows; then it is the time of a first opening.
        """
        circuit = self.circuit(model_id)
        if circuit.free is not None:
            return 0.0
        now, moment = self.clock(), 0.0
        for one in self._line(circuit):
            if one.drained:
                return None
            moment = max(moment, one.aside_until, one.until if one.state != "closed" else 0.0)
            if one.has_probe(now):
                moment = max(moment, now + self.policy.open_s)
        return max(0.0, moment - now)

    def aside_for(self, model_id: str) -> float | None:
        """Seconds for which a model that works asked to be left alone; None: that is not why it gets no calls."""
        now, line = self.clock(), self._line(self.circuit(model_id))
        if any(one.drained or one.state != "closed" for one in line):
            return None
        return max(0.0, *(one.aside_until - now for one in line)) or None

    def state(self, key: str) -> BreakerState:
        """Of a model, or of a provider as a whole where `key` names one."""
        circuit, now = self.circuit(key), self.clock()
        calls, failures = circuit.seen(now)
        is_open = circuit.state != "closed"
        return BreakerState(
            key=key,
            state="half_open" if is_open and now >= circuit.until else circuit.state,
            since=None if circuit.since is None else _moment(circuit.since, now),
            calls=calls,
            failures=failures,
            opens=circuit.opens,
            next_probe_at=_moment(circuit.until, now) if is_open else None,
            last_error=circuit.last_error,
            drained=circuit.drained,
            set_aside_until=_moment(circuit.aside_until, now) if circuit.aside_until > now else None,
        )

    def states(self) -> list[BreakerState]:
        """Of every provider and model that was ever asked about, sorted by name."""
        return [self.state(key) for key in sorted((*self._providers, *self._models))]

    def reset(self, key: str) -> None:
        """Close a model's circuit, or a provider's with those of all its models, and forget what it counted."""
        circuit = self.circuit(key)
        for one in (circuit, *circuit.children):
            one.level, one.aside_until, one.alone = 0, 0.0, False
            self._close(one)

    def drain(self, key: str) -> None:
        """Give a model, or all of a provider, no new calls; those under way end as they would."""
        self._set_drained(key, True)

    def undrain(self, key: str) -> None:
        """Let a drained model or provider be called again."""
        self._set_drained(key, False)

    def probed(self, provider: str, kind: FailureKind | None, failures: int = 1) -> None:
        """A probe beside the traffic asked a provider itself.

        An answer closes the provider's own circuit, for its key was taken, and lets the next call to a model whose
        circuit is open be its probe. A refused key, or no connection twice in a row, opens the provider's.

        Parameters
        ----------
        kind : of its failure; None: it answered.
        failures : in a row, this one among them.
        """
        circuit, now = self.circuit(provider), self.clock()
        if kind is None:
            if circuit.state != "closed":
                self._close(circuit)
            for one in circuit.children:
                if one.state != "closed" and one.aside_until <= now:
                    one.until = min(one.until, now)
        elif (kind == "credentials" or (kind == "connect" and failures > 1)) and (
            circuit.state == "closed" or circuit.is_due(now)
        ):
            circuit.last_error = kind
            self._open(circuit, now, 0.0)

    def retain(self, models: frozenset[str]) -> None:
        """Know which models there are: others are forgotten, with providers that have none left, and what another
        gateway tells of them is not listened to.
        """
        self._known = frozenset((*models, *(one.partition("/")[0] for one in models)))
        for key in [key for key in self._models if key not in models]:
            gone = self._models.pop(key)
            if gone.parent is not None:
                gone.parent.children.remove(gone)
        for key in [key for key, one in self._providers.items() if not one.children and not one.drained]:
            del self._providers[key]

    def circuit(self, key: str) -> Circuit:
        """The circuit of a model, or of a provider when `key` has no slash; made when it is asked for first."""
        provider, slash, _ = key.partition("/")
        found = (self._models if slash else self._providers).get(key)
        if found is None:
            parent = self.circuit(provider) if slash else None
            found = Circuit(key, parent, self.policy, self.clock())
            (self._models if slash else self._providers)[key] = found
        return found

    def adopt(self, key: str, learned: Learned) -> None:
        """Take over what another gateway learned. A probe that is under way here goes on."""
        if self._known is not None and key not in self._known:
            return
        circuit = self.circuit(key)
        if learned.is_open and circuit.state == "closed":
            circuit.state = "open"
            circuit.opens += 1
            circuit.forget()
        elif not learned.is_open and circuit.state != "closed":
            circuit.state = "closed"
            self._end_probe(circuit)
            circuit.forget()
        circuit.take(learned)
        self._tell(circuit, others=False)

    def _tell(self, circuit: Circuit, *, others: bool = True) -> None:
        """Pass a change on; `others` is false for one that came from another gateway."""
        circuit.refresh()
        if others and self.sharing is not None:
            self.sharing.changed(circuit)
        if others and self.on_change is not None:
            self.on_change(self.state(circuit.key))

    def _line(self, circuit: Circuit) -> tuple[Circuit, ...]:
        return (circuit,) if circuit.parent is None else (circuit.parent, circuit)

    def _due(self, circuit: Circuit, now: float) -> tuple[Circuit, ...]:
        """The circuits that a call now would probe; empty when it may not pass, or probes none."""
        line = self._line(circuit)
        if any(one.drained or one.aside_until > now for one in line):
            return ()
        opened = tuple(one for one in line if one.state != "closed")
        return opened if all(one.is_due(now) for one in opened) else ()

    def _consider(self, circuit: Circuit) -> Permit | None:
        now = self.clock()
        for one in self._line(circuit):
            if 0.0 < one.aside_until <= now:
                one.aside_until = 0.0
                one.refresh()
        if circuit.free is not None:
            return circuit.free
        due = self._due(circuit, now)
        if not due or (self.sharing is not None and not self.sharing.may_probe(due)):
            return None
        permit = Permit(circuit, due)
        for one in due:
            one.state, one.probe, one.probe_until = "half_open", permit, now + self.policy.lease_s
        return permit

    def _open(self, circuit: Circuit, now: float, wait: float) -> None:
        if circuit.state == "closed" and circuit.since is not None and now - circuit.since > self.policy.forgiven_s:
            circuit.level = 0
        policy = self.policy
        span = min(policy.longest_open_s, policy.open_s * 2.0 ** min(circuit.level, 30))
        span = max(span * (1.0 - policy.jitter * self._rng.random()), wait)
        if circuit.state != "open":
            circuit.since = now
        circuit.state, circuit.until = "open", now + span
        circuit.level += 1
        circuit.opens += 1
        self._end_probe(circuit)
        circuit.forget()
        self._tell(circuit)

    def _close(self, circuit: Circuit) -> None:
        if circuit.state != "closed":
            circuit.since = self.clock()
        circuit.state, circuit.until = "closed", 0.0
        self._end_probe(circuit)
        circuit.forget()
        self._tell(circuit)

    def _set_aside(self, circuit: Circuit, until: float) -> None:
        if until > circuit.aside_until:
            circuit.aside_until = until
            self._tell(circuit)

    def _set_drained(self, key: str, drained: bool) -> None:
        circuit = self.circuit(key)
        if circuit.drained != drained:
            circuit.drained = drained
            self._tell(circuit)

    def _give_back(self, permit: Permit) -> None:
        """The probe told nothing: another may follow."""
        for probed in permit.probes:
            if probed.probe is permit:
                probed.state = "open"
                self._end_probe(probed)

    def _end_probe(self, circuit: Circuit) -> None:
        if circuit.probe is not None:
            circuit.probe = None
            if self.sharing is not None:
                self.sharing.probe_ended(circuit)

    def _refused_key(self, permit: Permit, now: float, wait: float) -> None:
        """The key was refused: for the provider as a whole, unless it is known to be good for other models."""
        circuit = permit.circuit
        provider = circuit.parent
        for one in permit.probes:
            if one is not circuit:
                self._open(one, now, wait)
        if provider is not None and not circuit.alone and provider.state == "closed":
            provider.last_error = "credentials"
            self._open(provider, now, wait)
        # Its own too: where the provider's opens again through another model, this one is still to be tried.
        self._open(circuit, now, wait)


def _moment(at: float, now: float) -> datetime:
    return utc_now() + timedelta(seconds=at - now)
