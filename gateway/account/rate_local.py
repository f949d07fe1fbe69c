"""Rates in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.account.rate_limits import Limit, RateSettings, Reached, Standing, headers, limits_of
from gateway.account.rate_window import Window, leaving
from gateway.prompt import Tenant

# Names are looked through for those that nobody has used for a minute when there are so many, and then twice as many.
_SWEEP_FROM = 1000


class Plan:
    """The limits that calls of one key in one workspace fall under, and what counts them."""

    __slots__ = ("limits", "requests", "running_most", "tokens", "workspace")

    def __init__(self, limits: Sequence[Limit], windows: Callable[[Limit], Window]) -> None:
        self.limits = limits
        self.requests = [(windows(one), one.most) for one in limits if one.kind == "requests"]
        self.tokens = [(windows(one), one.most) for one in limits if one.kind == "tokens"]
        slots = [one for one in limits if one.kind == "concurrent"]
        self.workspace, self.running_most = (slots[0].name, slots[0].most) if slots else ("", 0)


class LocalTicket:
    """What a call has taken of the limits in this process."""

    __slots__ = ("_entries", "_plan", "_rates", "_tokens", "settled")

    def __init__(self, rates: LocalRates, plan: Plan, tokens: int, entries: list[list[int]]) -> None:
        self._rates, self._plan, self._tokens, self._entries = rates, plan, tokens, entries
        self.settled = False

    @property
    def headers(self) -> dict[str, str]:
        """How the limits stand now: `x-ratelimit-limit-requests`, `-remaining-requests`, `-reset-requests`, …"""
        return headers(self._rates.standings(self._plan))

    async def settle(self, tokens: int) -> None:
        """Correct the tokens to what was used, and free the slot."""
        if self.settled:
            return
        self.settled = True
        plan = self._plan
        if tokens != self._tokens and plan.tokens:
            now = self._rates.now()
            for (window, _), entry in zip(plan.tokens, self._entries, strict=True):
                window.change(now, entry, tokens - self._tokens)
        if plan.running_most:
            self._rates.leave(plan.workspace)


class LocalRates:
    """Windows by name. No call waits here, so that under asyncio all of a call's limits are taken in one step.

    Parameters
    ----------
    clock : seconds; goes forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str, str], Window] = {}
        self._plans: dict[tuple[object, ...], Plan] = {}
        self._running: dict[str, int] = {}
        self._sweep_at = _SWEEP_FROM

    def now(self) -> int:
        """Milliseconds."""
        return int(self._clock() * 1000)

    def plan(self, tenant: Tenant, workspace: RateSettings) -> Plan:
        """What a call falls under."""
        key = (
            tenant.key_id, tenant.requests_per_minute, tenant.tokens_per_minute, tenant.workspace,
            workspace.requests_per_minute, workspace.tokens_per_minute, workspace.concurrent,
        )  # fmt: skip
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= self._sweep_at:
                self._sweep()
            found = self._plans[key] = Plan(limits_of(tenant, workspace), self._window)
        return found

    def take(self, plan: Plan, tokens: int) -> LocalTicket | list[Reached]:
        """Take of all limits, or of none where one is reached."""
        now = int(self._clock() * 1000)
        for window, most in plan.requests:
            if window.move(now) >= most:
                return self._reached(now, plan, tokens)
        for window, most in plan.tokens:
            if window.move(now) + tokens > most:
                return self._reached(now, plan, tokens)
        if plan.running_most:
            running = self._running.get(plan.workspace, 0)
            if running >= plan.running_most:
                return self._reached(now, plan, tokens)
            self._running[plan.workspace] = running + 1
        leaves = leaving(now)
        for window, _ in plan.requests:
            window.add(leaves, 1)
        entries = []
        for window, _ in plan.tokens:
            entries.append(window.add(leaves, tokens))
        return LocalTicket(self, plan, tokens, entries)

    def standings(self, plan: Plan) -> list[Standing]:
        """How limits stand now."""
        now = self.now()
        return [
            Standing(kind, most, most - window.move(now), window.reset(now))
            for kind, counted in (("requests", plan.requests), ("tokens", plan.tokens))
            for window, most in counted
        ]

    def leave(self, workspace: str) -> None:
        """A call has ended."""
        left = self._running.get(workspace, 0) - 1
        if left > 0:
            self._running[workspace] = left
        else:
            self._running.pop(workspace, None)

    def _reached(self, now: int, plan: Plan, tokens: int) -> list[Reached]:
        found = []
        for limit in plan.limits:
            if limit.kind == "concurrent":
                used = self._running.get(limit.name, 0)
                if used >= limit.most:
                    found.append(Reached(limit, 1, used, 0))
                continue
            window, asked = self._window(limit), tokens if limit.kind == "tokens" else 1
            wait = window.wait(now, asked, limit.most)
            if wait is None or wait > 0:
                found.append(Reached(limit, asked, window.move(now), wait))
        return found

    def _window(self, limit: Limit) -> Window:
        found = self._windows.get(limit[:3])
        if found is None:
            found = self._windows[limit[:3]] = Window()
        return found

    def _sweep(self) -> None:
        """Forget who has not asked within the last minute."""
        now = self.now()
        # Calls under way may still hold a window that is forgotten here: it had nothing in it.
        self._windows = {name: one for name, one in self._windows.items() if one.move(now) or one.entries}
        self._plans.clear()
        self._sweep_at = max(_SWEEP_FROM, len(self._windows))
