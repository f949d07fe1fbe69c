"""Circuits that open, close, are drained or put back are told of as events, by the gateway where it happened."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from gateway.call.circuit import BreakerState
from store import events
from store.settings import Settings

KIND = "breaker"


class BreakerEvents:
    """Keeps events in a thread of its own, in their order; whoever calls models never waits for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="merit-breaker-events")
        self._told: dict[str, tuple[bool, bool]] = {}

    def changed(self, state: BreakerState) -> None:
        """A circuit changed. One that opens once more after a failed probe has been told of already."""
        now = state.state != "closed", state.drained
        if self._told.get(state.key, (False, False)) == now:
            return
        self._told[state.key] = now
        shown = state.explain()
        told = {
            "circuit": state.key,
            # Of a provider as a whole where there is none.
            "model": state.key if "/" in state.key else None,
            "state": "open" if now[0] else "closed",
            **{name: shown[name] for name in ("drained", "last_error", "opens", "next_probe_at")},
        }
        self._writing.submit(events.emit, self._settings, KIND, told)

    async def close(self) -> None:
        """Keep what is still to be kept, and stop."""
        await asyncio.to_thread(self._writing.shutdown)
