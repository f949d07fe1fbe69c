"""Chronos-2, a pretrained model that forecasts any series without being fitted to it (Ansari et al. 2025).

It runs in a process of its own, which is ended when it misses its deadline: a forward pass inside a library cannot be
stopped any other way, and users of other systems wait for hours. Every series goes through the model alone, so its
forecast does not depend on what else is in the file, and in 32 bits on one thread: the same machine gives the same
numbers.
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from models.forecasting.deep import missing
from models.forecasting.series import Floats
from store.settings import load_settings

if TYPE_CHECKING:
    from models.forecasting.panel_members import Known, PanelPath

CONTEXT = 2_048  # observations it looks back
_LOADING = 120.0  # seconds that loading may take at least
_ENDING = 5.0


def absent() -> str:
    """Why it cannot be used here; "" where it can."""
    reason = missing("torch", "chronos")
    if reason:
        return reason
    if not load_settings().chronos_model:
        return (
            "no model is named; set MERIT_CHRONOS_MODEL to a folder that holds one, or to its name on the "
            "hub (amazon/chronos-2)"
        )
    return ""


def identity() -> str:
    """What tells one pretrained model from another."""
    return str(load_settings().chronos_model)


def fit(known: Sequence[Known], h: int) -> PanelPath:
    """A pretrained model has nothing to learn; the process is started when forecasts are asked for."""
    del known, h
    settings = load_settings()
    model, seconds = str(settings.chronos_model), settings.chronos_seconds

    def paths(wanted: Sequence[Known], steps: int) -> list[Floats]:
        with Chronos(model, seconds) as chronos:
            return [chronos.forecast(one.y[max(0, n - CONTEXT) : n], steps, one.name) for one, n in wanted]

    return paths


class Chronos:
    """The process that holds the model; use it in a `with` block.

    Parameters
    ----------
    model : a folder, or a name on the hub.
    seconds : that one forecast may take; loading may take four times as long, and two minutes in any case.

    Raises
    ------
    ValueError : a deadline has passed and the process was ended, or the model cannot be loaded, or failed on a series;
        the message says which.
    """

    def __init__(self, model: str, seconds: float) -> None:
        self.model, self.seconds = model, seconds
        if (model.startswith((".", "/", "~")) or os.sep in model[1:2]) and not Path(model).expanduser().is_dir():
            raise ValueError(f"MERIT_CHRONOS_MODEL={model} is no folder")
        local = Path(model).expanduser()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        if local.is_dir():
            model = str(local.absolute())
            environment |= {"HF_HUB_OFFLINE": "1"}  # what is here needs no hub
        self._process = subprocess.Popen(
            [sys.executable, "-m", "models.forecasting.deep.worker", model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
        )
        self._loaded = False

    def __enter__(self) -> Chronos:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def forecast(self, values: Floats, h: int, name: str = "") -> Floats:
        """Median forecast of the `h` steps after `values`, of shape (n,); `name` is for the error only."""
        if not self._loaded:
            self._reply(max(_LOADING, 4.0 * self.seconds), "loading the model", 0)
            self._loaded = True
        given = np.ascontiguousarray(values, dtype="<f8")
        what = f"series {name!r}" if name else "a forecast"
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(struct.pack("<qq", len(given), h) + given.tobytes())
        except BrokenPipeError:
            raise ValueError(f"its process ended before {what}") from None
        return self._reply(self.seconds, what, h)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_ENDING)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _reply(self, seconds: float, what: str, count: int) -> Floats:
        deadline = time.monotonic() + seconds
        (size,) = struct.unpack("<q", self._read(8, deadline, seconds, what))
        if size < 0:
            raise ValueError(f"{self._read(-size, deadline, seconds, what).decode(errors='replace')}")
        found = np.frombuffer(self._read(8 * size, deadline, seconds, what), dtype="<f8")
        if len(found) != count:
            raise ValueError(f"{len(found)} steps came for {count}")
        return found.astype(np.float64)

    def _read(self, count: int, deadline: float, seconds: float, what: str) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        parts: list[bytes] = []
        while count:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.close()
                raise ValueError(
                    f"{what} took longer than {seconds:g} s and was ended; MERIT_CHRONOS_SECONDS allows more"
                )
            part = os.read(descriptor, count)
            if not part:
                raise ValueError(f"its process ended during {what}")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)
