"""Challengers that answer silently: off the request path, within a share of one core, dropped under pressure.

What a champion answered is taken from where predictions are written to the database, after they are: no request waits
for a shadow, and none can fail by one. The queue is bounded; what does not fit is counted and forgotten.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.families import Spec
from serving.warm_up import Scorer, warm_up
from store import shadows
from store.errors import InvalidValue, MeritError
from store.feature_rows import lookup
from store.predictions import Prediction
from store.registry import Registry
from store.settings import Settings
from store.shadows import ShadowAnswer

log = logging.getLogger("merit.serving")

CAPACITY = 5_000
# Predictions between two pauses: a shadow holds the interpreter for about a millisecond at a time.
AT_A_TIME = 8
WRITE_EVERY = 256
RETRY_SECONDS = 30.0


@dataclass
class Shadow:
    """A version that answers silently, or why it cannot.

    Attributes
    ----------
    taken, dropped : answers of the champion that were queued, and that found no room.
    answered, failed, lost : of the shadow; lost ones the database did not take.
    problem : why it could not be loaded; "" when it was.
    """

    model: str
    version: int
    scorer: Scorer | None = None
    problem: str = ""
    retry_at: float = 0.0
    taken: int = 0
    dropped: int = 0
    answered: int = 0
    failed: int = 0
    lost: int = 0


class Shadows:
    """The loaded shadows and the thread in which they answer."""

    def __init__(self, settings: Settings, registry: Registry, *, capacity: int = CAPACITY) -> None:
        self._settings = settings
        self._registry = registry
        self._capacity = capacity
        self._loaded: Mapping[str, Shadow] = {}
        self._queue: deque[Prediction] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop at once; what waits is forgotten, since nobody waits for it."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(10.0)
            self._thread = None

    def wanted(self, name: str, aliases: Mapping[str, int]) -> int | None:
        """The version that should stand beside the champion of a model, by its aliases and the settings."""
        asked = {part.strip() for part in self._settings.shadow.split(",") if part.strip()}
        version = aliases.get(shadows.ALIAS)
        if version is None and ("all" in asked or name in asked):
            version = aliases.get("challenger")
        return None if version == aliases.get("champion") else version

    def follow(self, wanted: Mapping[str, tuple[int, str]]) -> None:
        """Load what is wanted and drop what is not; called by the watcher of champions.

        Parameters
        ----------
        wanted : model → (version, family).
        """
        now = time.monotonic()
        found: dict[str, Shadow] = {}
        for name, (version, family) in wanted.items():
            known = self._loaded.get(name)
            if known is not None and known.version == version and (not known.problem or now < known.retry_at):
                found[name] = known
            else:
                found[name] = self._load(name, version, family, told=known is not None and known.version == version)
        self._loaded = found

    def state(self, name: str) -> Shadow | None:
        """The shadow of a model in this process."""
        return self._loaded.get(name)

    def offer(self, predictions: Sequence[Prediction]) -> None:
        """Queue answers of champions for their shadows. Never waits and never raises."""
        loaded = self._loaded
        if not loaded:
            return
        for one in predictions:
            shadow = loaded.get(one.model)
            if shadow is None or shadow.scorer is None or shadow.version == one.version:
                continue
            if len(self._queue) >= self._capacity:
                shadow.dropped += 1
                continue
            shadow.taken += 1
            self._idle.clear()
            self._queue.append(one)
        if self._queue:
            self._wake.set()

    def flush(self, timeout: float = 10.0) -> bool:
        """Block until everything queued so far was answered; False when that did not happen in time."""
        return self._idle.wait(timeout)

    def _load(self, name: str, version: int, family: str, *, told: bool) -> Shadow:
        try:
            model: Any = Spec(family, name).build().load(self._registry.fetch(name, version))
            scorer = warm_up(family, model)
            if scorer is None:
                raise InvalidValue(
                    f"A model of the family {family} is not asked row by row: a shadow has nothing to answer.",
                    remedy="Compare it in the gate: train again, or see `merit monitor`.",
                )
        except Exception as error:  # noqa: BLE001  a broken artifact can raise anything; the champion is not concerned
            problem = str(error) if isinstance(error, MeritError) else f"{type(error).__name__}: {error}"[:300]
            if not told:
                log.error("%s version %d cannot be a shadow: %s", name, version, problem)
            return Shadow(name, version, problem=problem, retry_at=time.monotonic() + RETRY_SECONDS)
        log.info("%s version %d answers silently beside the champion", name, version)
        return Shadow(name, version, scorer)

    def _run(self) -> None:
        written: list[ShadowAnswer] = []
        share = self._settings.shadow_share
        while not self._closing.is_set():
            begin = time.perf_counter()
            for _ in range(AT_A_TIME):
                if not self._queue:
                    break
                answer = self._answer(self._queue.popleft())
                if answer is not None:
                    written.append(answer)
            if written and (len(written) >= WRITE_EVERY or not self._queue):
                self._write(written)
                written = []
            if self._queue:
                # The rest of the core belongs to those who wait for an answer.
                self._closing.wait((time.perf_counter() - begin) * (1 / share - 1))
                continue
            self._idle.set()
            if not self._queue:  # nothing was queued between the look and the sign
                self._wake.wait(1.0)
                self._wake.clear()
            else:
                self._idle.clear()

    def _answer(self, asked: Prediction) -> ShadowAnswer | None:
        shadow = self._loaded.get(asked.model)
        if shadow is None or shadow.scorer is None or shadow.version == asked.version:
            return None
        output: dict[str, Any] = {}
        error = None
        begin = time.perf_counter()
        try:
            scorer = shadow.scorer
            record = asked.features
            if not record.keys() >= scorer.names:
                record = self._completed(asked)
                begin = time.perf_counter()
            probability = float(scorer.predict_records([record])[0])
            if not 0.0 <= probability <= 1.0:
                raise ValueError(f"{probability} is no probability")
            output = {
                "probability": probability,
                "band": scorer.band(probability),
                "decision": "offer" if probability >= scorer.threshold else "no_offer",
                "threshold": scorer.threshold,
            }
            shadow.answered += 1
        except Exception as reason:  # noqa: BLE001  whatever a challenger raises is part of its report
            error = f"{type(reason).__name__}: {reason}"[:300]
            shadow.failed += 1
        return ShadowAnswer(
            prediction_id=asked.id,
            model=asked.model,
            version=shadow.version,
            champion=asked.version,
            output=output,
            latency_ms=1000 * (time.perf_counter() - begin),
            error=error,
        )

    def _completed(self, asked: Prediction) -> Mapping[str, Any]:
        """What was asked, with the columns that only the shadow reads from the published features."""
        known = lookup(self._settings, asked.model, [asked.entity_id]) if asked.entity_id else {}
        return {**known.get(asked.entity_id or "", {}), **asked.features}

    def _write(self, answers: list[ShadowAnswer]) -> None:
        try:
            shadows.write(self._settings, answers)
        except Exception as error:  # noqa: BLE001  a shadow must not trouble anybody
            log.warning("%d answers of shadows were not kept: %s", len(answers), type(error).__name__)
            for one in answers:
                if (shadow := self._loaded.get(one.model)) is not None:
                    shadow.lost += 1
