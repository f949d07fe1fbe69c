"""How attached a customer is: a latent path that nobody sees and that usage, tickets and visits respond to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from features.world.business import Array

ONSETS_PER_DAY = 1 / 430
EPISODES = 4
MOOD_MEMORY_DAYS = 50.0
MOOD_SPREAD = 0.16


@dataclass(frozen=True)
class Engagement:
    """Latent state, one row per customer and one column per day.

    Attributes
    ----------
    mood : slow ups and downs of log usage that mean little.
    disengaged : 0 when all is well, about 1 in the middle of an episode of losing interest.
    onsets : (customers, EPISODES) first day of each episode, relative to the first column.
    """

    mood: Array
    disengaged: Array
    onsets: Array


def engagement(joined: Array, days: int, rng: np.random.Generator) -> Engagement:
    """Draw the latent paths.

    `mood` is a first-order autoregression. Episodes begin at a constant rate, grow over weeks, last for months and
    fade; a customer who survives one is as good as new.

    Parameters
    ----------
    joined : (customers,) day of joining, relative to the first column; may be negative.
    days : number of columns.
    """
    n = len(joined)
    keep = np.exp(-1 / MOOD_MEMORY_DAYS)
    shocks = rng.standard_normal((n, days), dtype=np.float32)
    shocks *= np.float32(MOOD_SPREAD * np.sqrt(1 - keep**2))
    shocks[:, 0] /= np.float32(np.sqrt(1 - keep**2))
    mood = lfilter([1.0], [1.0, -keep], shocks, axis=1).astype(np.float32)

    day = np.arange(days, dtype=np.float32)
    disengaged = np.zeros((n, days), dtype=np.float32)
    onsets = np.empty((n, EPISODES))
    free = np.maximum(joined, -250).astype(np.float64)
    for episode in range(EPISODES):
        onset = free + rng.exponential(1 / ONSETS_PER_DAY, n)
        ramp = rng.uniform(25.0, 70.0, n)
        length = rng.uniform(70.0, 220.0, n)
        depth = rng.uniform(0.45, 1.35, n)
        onsets[:, episode] = onset
        free = onset + length + 60.0
        touched = np.flatnonzero(onset < days)
        if not len(touched):
            continue
        start, rise, stay, size = (a[touched, None].astype(np.float32) for a in (onset, ramp, length, depth))
        path = np.clip((day - start) / rise, 0, 1) * np.clip(1 - (day - start - stay) / np.float32(60), 0, 1)
        disengaged[touched] += size * path
    return Engagement(mood, disengaged, onsets)
