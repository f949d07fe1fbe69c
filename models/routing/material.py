"""What every candidate of a training learns from: outcomes, the space of prompts, folds. Made once, used by all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from models.lifecycle.threads import side_by_side
from models.routing.basis import Basis, fit_basis
from models.routing.members import Member
from models.routing.options import RoutingOptions
from models.routing.outcomes import Outcomes, outcomes

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]
T = TypeVar("T")

# Groups of at least so many rows, and no more of them than this, may be tasks rather than copies of a prompt.
_TASK_ROWS, _MOST_TASKS = 12, 300
_FEWEST_GROUPS = 3
_CENTRE_ROWS, _ROUNDS = 8_000, 15


@dataclass(frozen=True)
class Material:
    """Rows to learn from.

    Attributes
    ----------
    vectors : (rows, width) of `basis`.
    fold : of each row; rows of one prompt share one.
    group_fold : the same with whole groups together; None where groups are as small as prompts, or too few.
    task : number of the task that the row's group names; None where groups are no tasks.
    """

    outcomes: Outcomes
    basis: Basis
    vectors: NDArray[np.float32]
    fold: NDArray[np.int64]
    group_fold: NDArray[np.int64] | None
    task: NDArray[np.int64] | None

    seed: int
    threads: int = 1
    # What candidates have in common, by name, so that none is found twice.
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    # Held while a candidate is fitted; what it has in common with others is found on several threads.
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    making: dict[str, threading.RLock] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.outcomes)

    def centres(self, count: int) -> NDArray[np.float32]:
        """Centres of so many neighbourhoods."""
        return self._neighbourhoods(count)[0]

    def nearest(self, count: int) -> NDArray[np.int64]:
        """Number of the nearest of so many centres, for each row."""
        return self._neighbourhoods(count)[1]

    def _neighbourhoods(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        def make() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            made = centres_of(self.vectors, count, self.seed + count)
            return made, nearest(self.vectors, made)

        return self.once(f"centres {count}", make)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` makes, made once."""
        # A lock for each: what is made on several threads may ask for other things that are made once.
        with self.making.setdefault(name, threading.RLock()):
            if name not in self.kept:
                self.kept[name] = make()
            found: T = self.kept[name]
            return found


Fit = Callable[[Material, Floats, Rows], Member]

_lock = threading.Lock()
_kept: dict[str, Material] = {}


def material(frame: pd.DataFrame, roles: Mapping[str, str], options: RoutingOptions) -> Material:
    """The material of a frame; the last one is kept, since every candidate asks for the same."""
    seen = outcomes(frame, roles)
    key = _key(seen, options)
    with _lock:
        if key not in _kept:
            _kept.clear()
            _kept[key] = prepare(seen, options)
        return _kept[key]


def prepare(seen: Outcomes, options: RoutingOptions) -> Material:
    """Find the space and deal out the folds."""
    basis = fit_basis(
        seen.gists,
        seen.task,
        dimensions=options.dimensions,
        vocabulary=options.vocabulary,
        seed=options.seed,
        embeddings=options.embeddings,
    )
    by_prompt = dealt(_prompts(seen), options.folds, options.seed)
    groups = np.bincount(seen.group)
    groups = groups[groups > 0]
    prompts = len(np.unique(_prompts(seen)))
    coarse = _FEWEST_GROUPS <= len(groups) <= 0.5 * prompts
    tasks = 2 <= len(groups) <= _MOST_TASKS and float(np.median(groups)) >= _TASK_ROWS and not seen.task.shape[1]
    return Material(
        seen,
        basis,
        basis.vectors(seen.gists, seen.task),
        by_prompt,
        dealt(seen.group, min(options.folds, len(groups)), options.seed, even=True) if coarse else None,
        np.unique(seen.group, return_inverse=True)[1] if tasks else None,
        options.seed,
        options.threads,
    )


def out_of_fold(fit: Fit, given: Material, target: Floats, fold: NDArray[np.int64]) -> Floats:
    """Predictions of each row by a member that was fitted without its fold."""
    made = np.empty(target.shape)

    def one(number: int) -> None:
        held = fold == number
        made[held] = fit(given, target, ~held).predict(given.vectors[held])

    side_by_side(one, np.unique(fold).tolist(), given.threads)
    return made


def dealt(of: NDArray[np.int64], folds: int, seed: int, *, even: bool = False) -> NDArray[np.int64]:
    """A fold for each row, the same for equal values of `of`; by chance, or so that folds have about as many rows."""
    values, place = np.unique(of, return_inverse=True)
    draw = np.random.default_rng(seed)
    if not even:
        return draw.integers(0, folds, len(values))[place]
    size = np.bincount(place)
    fold = np.zeros(len(values), np.int64)
    filled = np.zeros(folds)
    for one in np.lexsort((draw.random(len(values)), -size)):
        fold[one] = int(np.argmin(filled))
        filled[fold[one]] += size[one]
    return fold[place]


def centres_of(vectors: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Centres by Lloyd's algorithm, from rows drawn by chance."""
    draw = np.random.default_rng(seed)
    count = max(1, min(count, len(vectors) // 4))
    some = vectors[draw.permutation(len(vectors))[: max(_CENTRE_ROWS, 20 * count)]]
    centres = some[:count].copy()
    for _ in range(_ROUNDS):
        place = nearest(some, centres)
        number = np.bincount(place, minlength=count)
        sums = sp.csr_matrix((np.ones(len(some), np.float32), (place, np.arange(len(some)))), shape=(count, len(some)))
        met = number > 0
        centres[met] = ((sums @ some)[met] / number[met][:, None]).astype(np.float32)
        # One that nothing is near starts again somewhere else.
        centres[~met] = some[draw.integers(0, len(some), int((~met).sum()))]
    return centres


def nearest(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number of the nearest centre of each row."""
    return np.asarray(np.argmax(vectors @ centres.T - 0.5 * np.einsum("ij,ij->i", centres, centres), axis=1))


def row_numbers(seen: Outcomes) -> NDArray[np.uint64]:
    """A 64-bit number of each row: of what its prompt says, or of its key where nobody kept the words."""
    gists = seen.gists
    words = (gists.buckets.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + gists.counts
    words ^= words >> np.uint64(29)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(words * np.uint64(0xBF58476D1CE4E5B9), dtype=np.uint64)])
    told: NDArray[np.uint64] = sums[gists.starts[1:]] - sums[gists.starts[:-1]]
    silent = np.flatnonzero(np.diff(gists.starts) == 0)
    for row in silent.tolist():
        digest = hashlib.blake2b(str(seen.keys[row]).encode(), digest_size=8).digest()
        told[row] = int.from_bytes(digest, "little")
    return told


def _prompts(seen: Outcomes) -> NDArray[np.int64]:
    """A number for each prompt, the same for equal ones."""
    return np.unique(row_numbers(seen), return_inverse=True)[1].astype(np.int64)


def _key(seen: Outcomes, options: RoutingOptions) -> str:
    digest = hashlib.blake2b(repr((options, seen.models, len(seen))).encode(), digest_size=16)
    for part in (seen.gists.buckets, seen.gists.structure, seen.score, seen.cost, seen.group):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
