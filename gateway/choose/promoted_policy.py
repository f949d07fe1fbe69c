"""The promoted routing policy in the gateway: what it predicts for a prompt, and following its alias.

A model that the policy has seen often is believed as the policy says; one that it has seldom seen, in part; one that it
never saw, as the catalogue says, moved by as much as the policy finds the known models better or worse on this prompt
than the catalogue has them. So a new model can be tried without another training.

`PolicyWatch.poll` looks at the registry's alias. A new champion is fetched, compared with the digest in the promotion
ledger, made to answer its own example, and only then given to whoever asks for it; one that fails any of it is refused
and told once, and what decides goes on deciding.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.gist import gists
from gateway.choose.catalogue import Model
from gateway.choose.decision import Task
from gateway.choose.policy import Estimates, Policy, PriorPolicy
from models.routing.model import RoutingModel
from models.routing.outcomes import task_block
from store import ledger
from store.errors import IntegrityFailed, MeritError
from store.registry import Registry, folder_sha256
from store.settings import Settings

log = logging.getLogger("merit.choose")

NAME = "routing"
# Scores after which a model is believed as much as its prior.
EVIDENCE = 25.0
_MOST_GROUPS, _MOST_KEPT = 256, 2_048
_LONGEST_PAUSE = 60.0
_TOLERANCE = 1e-6
_ZERO = np.zeros(1)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Group:
    """A group of models as the policy knows it.

    Attributes
    ----------
    models : held on to, so that no other group can come by its id.
    place : number of each in the policy, 0 where it is not known.
    known : which are.
    belief : how much each is believed, 0 to 1.
    sure : sum of `belief`, at least a little.
    """

    models: Sequence[Model]
    place: NDArray[np.int64]
    known: NDArray[np.bool_]
    belief: Floats
    sure: float


@dataclass(frozen=True, slots=True)
class _Said:
    """Predictions for a prompt, of every model that the policy knows."""

    quality: Floats
    tokens: Floats | None
    latency: Floats | None


class PromotedPolicy:
    """A version of the routing policy as the gateway asks it.

    Parameters
    ----------
    version : in the registry.
    """

    def __init__(self, model: RoutingModel, version: int, name: str = NAME) -> None:
        self.name = f"{name} v{version}"
        self.version = version
        self.model = model
        self._priors = PriorPolicy()
        self._groups: dict[int, _Group] = {}
        # By a hash of the words, which are not kept.
        self._kept: dict[tuple[int, int, str, str, int], _Said] = {}
        # By domain and complexity, of which there are few.
        self._blocks: dict[tuple[str, str], NDArray[np.float32]] = {}

    def estimate(self, text: str, task: Task, models: Sequence[Model]) -> Estimates:
        """Predict quality, length and time of each model's answer."""
        prior = self._priors.estimate(text, task, models)
        group = self._groups.get(id(models))
        if group is None or group.models is not models:
            group = self._read(models)
        if not group.sure:
            return prior
        said = self._said(text, task)
        place, belief = group.place, group.belief
        believed = np.array(prior.quality)
        learned = said.quality[place]
        moved = float(belief @ (learned - believed)) / group.sure
        quality = believed + np.where(group.known, belief * (learned - believed) + (1.0 - belief) * moved, moved)
        quality = np.minimum(np.maximum(quality, 0.0), 1.0)
        tokens: Sequence[float] = prior.output_tokens
        latency: Sequence[float] = prior.latency_ms
        if said.tokens is not None:
            written = said.tokens[place]
            if task.bounded:
                written = np.minimum(written, task.most_output_tokens / max(task.choices, 1))
            tokens = np.where(group.known, np.maximum(written, 1.0) * task.choices, tokens).tolist()
        if said.latency is not None:
            latency = np.where(group.known, said.latency[place], latency).tolist()
        return Estimates(quality.tolist(), tokens, latency)

    def _said(self, text: str, task: Task) -> _Said:
        """What the policy says of all its models; kept for a while, since prompts come again."""
        key = (hash(text), len(text), task.domain, task.complexity, task.input_tokens)
        found = self._kept.get(key)
        if found is None:
            policy = self.model
            block = self._block(task) if policy.basis.task_width else None
            vectors = policy.basis.vector(gists([text]), block)[None, :]
            found = _Said(
                np.minimum(np.maximum(policy.quality.predict(vectors)[0], 0.0), 1.0),
                None if policy.tokens is None else policy.tokens.predict(vectors)[0],
                None if policy.latency is None else policy.latency.predict(vectors)[0],
            )
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = found
        return found

    def _block(self, task: Task) -> NDArray[np.float32]:
        known = self._blocks.get((task.domain, task.complexity))
        if known is None:
            known = self._blocks[task.domain, task.complexity] = task_block([task.domain], [task.complexity], _ZERO)[0]
        block = known.copy()
        block[-1] = math.log1p(task.input_tokens) / 10.0
        return block

    def _read(self, models: Sequence[Model]) -> _Group:
        number = {name: place for place, name in enumerate(self.model.models)}
        # By id; a policy made from somebody's table may know models by their own names.
        found = [number.get(model.id, number.get(model.name, -1)) for model in models]
        known = np.array([one >= 0 for one in found], dtype=bool)
        place = np.array([max(one, 0) for one in found], dtype=np.int64)
        cells = self.model.cells[place]
        belief = np.where(known, cells / (cells + EVIDENCE), 0.0)
        if len(self._groups) >= _MOST_GROUPS:
            del self._groups[next(iter(self._groups))]
        made = self._groups[id(models)] = _Group(models, place, known, belief, float(belief.sum()))
        return made


class PolicyWatch:
    """Follows the champion of the routing policy. `poll` may wait for the database; call it beside the traffic.

    Parameters
    ----------
    name : of the registered model.
    clock : seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry | None = None,
        name: str = NAME,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._registry = registry or Registry(settings)
        self._name = name
        self._clock = clock
        self.version: int | None = None
        # Why the version with the alias is not the one that decides; "" when it is.
        self.problem = ""
        self._refused: tuple[int, int, float] | None = None

    def poll(self) -> Policy | None:
        """The policy to decide with from now on, where that is another than before; None where nothing changed.

        A champion that was withdrawn gives the catalogue's priors. Nothing raises: what cannot be read is told in
        `problem` and the log, and tried again after a pause that grows.
        """
        try:
            version = self._registry.alias(self._name, "champion")
        except Exception as error:  # noqa: BLE001 - whatever the registry raises, what decides goes on deciding
            self._tell(f"The registry does not answer: {error}"[:300])
            return None
        if version == self.version:
            self.problem, self._refused = "", None
            return None
        if version is None:
            self.version, self.problem, self._refused = None, "", None
            log.warning("The champion of %s was withdrawn; the catalogue's priors decide.", self._name)
            return PriorPolicy()
        if self._refused is not None and self._refused[0] == version and self._clock() < self._refused[2]:
            return None
        try:
            policy = PromotedPolicy(self._load(version), version, self._name)
        except Exception as error:  # noqa: BLE001 - a broken artifact can raise anything
            self._refuse(version, error)
            return None
        self.version, self.problem, self._refused = version, "", None
        log.info("%s decides.", policy.name)
        return policy

    def _load(self, version: int) -> RoutingModel:
        folder = self._registry.fetch(self._name, version)
        self._check(folder, version)
        model = RoutingModel.load(folder, judged=False)
        given, expected = model.signature()
        one_by_one = pd.concat([model.answer(given.iloc[[row]]) for row in range(len(given))], ignore_index=True)
        numbers = expected.select_dtypes("number").columns
        if not np.isfinite(expected[numbers].to_numpy()).all():
            raise IntegrityFailed("The policy answers its own example with numbers that are not finite.")
        if not np.allclose(one_by_one[numbers], expected[numbers], rtol=_TOLERANCE, atol=_TOLERANCE):
            raise IntegrityFailed("The policy answers one prompt otherwise than several.")
        return model

    def _check(self, folder: Path, version: int) -> None:
        expected = ledger.promoted_sha256(self._settings, self._name, version)
        if expected is None:
            # The alias moves before the ledger's line is settled.
            intended = ledger.lines(self._settings, self._name, "intended")
            expected = next((one.artifact_sha256 for one in reversed(intended) if one.to_version == version), None)
        if expected is None:
            raise IntegrityFailed(
                f"{self._name} version {version} has the alias 'champion', but the promotion ledger does not know it.",
                remedy=f"Go back with `merit registry rollback {self._name}`, then use `merit registry promote`.",
            )
        found = folder_sha256(folder)
        if found != expected:
            raise IntegrityFailed(
                f"The artifact of {self._name} version {version} has the SHA-256 {found[:12]}…, the promotion ledger "
                f"says {expected[:12]}….",
                remedy=f"Go back with `merit registry rollback {self._name}` and find out who changed the artifact.",
            )

    def _refuse(self, version: int, error: Exception) -> None:
        tries = self._refused[1] + 1 if self._refused is not None and self._refused[0] == version else 1
        pause = min(_LONGEST_PAUSE, self._settings.watch_seconds * 2.0 ** (tries - 1))
        self._refused = version, tries, self._clock() + pause
        reason = error.message if isinstance(error, MeritError) else f"{type(error).__name__}: {error}"[:300]
        self._tell(f"{self._name} version {version} was refused, what decides goes on: {reason}")

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            log.error("%s", problem)
        self.problem = problem
