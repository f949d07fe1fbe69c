"""One recurrent network for all series of a panel, a small one of our own.

A window of the last observations, less its mean and in units of its spread, goes through an LSTM; its last state, the
step ahead and the phase within each season give mean and spread of a normal distribution for every step, as a
correction of the seasonal naive forecast of the window. Learned by maximum likelihood on windows from anywhere in the
training rows (as DeepAR; Salinas et al. 2020), until it stops getting better on the last window of every series.

A series is forecast from its own window alone. Fixed seed, one thread, 64 bits: the same data give the same network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.forecasting.deep import missing
from models.forecasting.series import Floats, Ints, Series

if TYPE_CHECKING:
    from models.forecasting.panel_members import Known, PanelPath

_HIDDEN, _WIDE = 24, 32
_BATCH, _BATCHES, _EPOCHS, _PATIENCE = 32, 12, 60, 8
_RATE = 1e-2
_SHORTEST, _LONGEST = 12, 120  # window
_MEMORY = 1_500


def absent() -> str:
    """Why it cannot be used here; "" where it can."""
    return missing("torch")


def fit(known: Sequence[Known], h: int) -> PanelPath:
    """Learn from the first observations of every series."""
    return GlobalLstm(known, h).paths


class GlobalLstm:
    """The network, learned for `h` steps; it forecasts at most so many."""

    def __init__(self, known: Sequence[Known], h: int, *, seed: int = 7) -> None:
        import torch

        self.h = h
        self.seasons = tuple(sorted({s for one, _ in known for s in one.seasons if s <= _LONGEST}))
        season = self.seasons[0] if self.seasons else 1
        shortest = min(n for _, n in known)
        # Room for a window and what comes after it, in the shortest series, twice at least.
        self.length = int(
            np.clip(shortest - h - max(2, h // 4), max(_SHORTEST, season), max(2 * season, 4 * _SHORTEST))
        )
        self.length = min(self.length, _LONGEST)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums in one order
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.network = _network(2 * len(self.seasons) + 1)
                self._learn(known, np.random.default_rng(seed))
        finally:
            torch.set_num_threads(threads)

    def paths(self, known: Sequence[Known], h: int) -> list[Floats]:
        """Forecast of the `h` steps after the first observations of each series; none depends on the others."""
        import torch

        if h > self.h:
            raise ValueError(f"learned for {self.h} steps, {h} were asked for")
        found = []
        with torch.no_grad():
            for one, n in known:
                window, naive, phases, centre, spread = self._inputs(one, n)
                mean, _ = self.network(_tensor(window[None]), _tensor(phases[None]), _tensor(naive[None]))
                found.append((mean[0].numpy() * spread + centre)[:h].astype(np.float64))
        return found

    def _learn(self, known: Sequence[Known], rng: np.random.Generator) -> None:
        import torch

        places = [(one, last) for one, n in known if (last := n - self.h) >= self.length]
        if not places:
            raise ValueError(f"no series has the {self.length + self.h} values that a window and {self.h} steps need")
        held = [self._example(one, last) for one, last in places]
        # The last window of each series is held out where something is left to learn from before it.
        early = [(one, last - self.h) for one, last in places if last - self.h >= self.length]
        learning = early or places
        optimiser = torch.optim.Adam(self.network.parameters(), lr=_RATE)
        best, weights, waited = np.inf, None, 0
        for _ in range(_EPOCHS):
            for _ in range(_BATCHES):
                batch = []
                for which in rng.integers(len(learning), size=_BATCH):
                    one, last = learning[which]
                    batch.append(self._example(one, int(rng.integers(max(self.length, last - _MEMORY), last + 1))))
                loss = _loss(self.network, batch)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimiser.step()
            with torch.no_grad():
                now = float(_loss(self.network, held))
            if now < best - 1e-4:
                best, waited = now, 0
                weights = {name: value.clone() for name, value in self.network.state_dict().items()}
            else:
                waited += 1
                if waited >= _PATIENCE:
                    break
        if weights is None:
            raise ValueError("learning did not converge")
        self.network.load_state_dict(weights)

    def _example(self, one: Series, n: int) -> tuple[Floats, Floats, Floats, Floats]:
        window, naive, phases, centre, spread = self._inputs(one, n)
        return window, naive, phases, (one.y[n : n + self.h] - centre) / spread

    def _inputs(self, one: Series, n: int) -> tuple[Floats, Floats, Floats, float, float]:
        """Window, seasonal naive forecast and phases ahead after the first `n` observations; centre and spread."""
        raw = one.y[n - self.length : n]
        centre = float(raw.mean())
        spread = max(float(raw.std()), 1e-6 * (abs(centre) + 1e-6))
        window = (raw - centre) / spread
        season = one.seasons[0] if one.seasons and one.seasons[0] <= self.length else 1
        naive = np.resize(window[-season:], self.h)
        steps: Ints = np.arange(one.first + n, one.first + n + self.h)
        turns = [2.0 * np.pi * (steps % s) / s for s in self.seasons]
        ahead = np.arange(1, self.h + 1) / self.h
        phases = np.column_stack([ahead, *(wave(turn) for turn in turns for wave in (np.sin, np.cos))])
        return window, naive, phases, centre, spread


def _network(features: int) -> Any:
    import torch

    class Network(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
        def __init__(self) -> None:
            super().__init__()
            self.reader = torch.nn.LSTM(1, _HIDDEN, batch_first=True, dtype=torch.float64)
            self.hidden = torch.nn.Linear(_HIDDEN + features, _WIDE, dtype=torch.float64)
            self.answer = torch.nn.Linear(_WIDE, 2, dtype=torch.float64)
            # It begins as the seasonal naive forecast.
            torch.nn.init.zeros_(self.answer.weight)
            torch.nn.init.zeros_(self.answer.bias)

        def forward(self, window: Any, phases: Any, naive: Any) -> Any:
            _, (state, _) = self.reader(window.unsqueeze(-1))
            read = state[-1].unsqueeze(1).expand(-1, phases.shape[1], -1)
            found = self.answer(torch.tanh(self.hidden(torch.cat([read, phases], dim=-1))))
            return naive + found[..., 0], torch.clamp(found[..., 1], -6.0, 6.0)

    return Network()


def _loss(network: Any, examples: Sequence[tuple[Floats, Floats, Floats, Floats]]) -> Any:
    """Negative log likelihood of what came, cut for what no normal distribution would give."""
    import torch

    window, naive, phases, came = (_tensor(np.array(part)) for part in zip(*examples, strict=True))
    mean, log_spread = network(window, phases, naive)
    off = torch.clamp(torch.abs(came - mean) * torch.exp(-log_spread), max=20.0)
    return (0.5 * off**2 + log_spread).mean()


def _tensor(values: Floats) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
