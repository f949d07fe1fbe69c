"""Serves whatever is champion now: watches the registry's aliases and swaps models in memory.

A new champion is fetched, compared with the digest in the promotion ledger, loaded in its native form, made to answer
its recorded example, and then put in place of the old one by a single assignment, so that every request sees either
the one or the other. A version that fails any of it is refused, told once, and tried again later; the old one stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from models.families import FAMILIES, Spec
from serving.guard import Guard
from serving.shadow import Shadows
from serving.vitals import Vitals
from serving.warm_up import Scorer, warm_up
from store import ledger
from store.errors import IntegrityFailed, InvalidValue, MeritError, NoChampion, UnknownModel
from store.events import emit
from store.registry import Registry, folder_sha256
from store.settings import Settings
from store.tables.base import utc_now

log = logging.getLogger("merit.serving")

ALIAS = "champion"
LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Champion:
    """A loaded version and where it comes from.

    Attributes
    ----------
    model : what the family's `load` gives.
    scorer : what a churn model is asked with every request; None for other families.
    series : what a forecaster knows, in its order; empty for other families.
    digest : of the dataset it learned from.
    vitals : how it does while it answers.
    """

    name: str
    family: str
    version: int
    run_id: str
    digest: str | None
    git_commit: str | None
    candidate: str | None
    sha256: str
    model: Any
    scorer: Scorer | None
    series: Mapping[str, None]
    loaded_at: datetime
    vitals: Vitals = field(default_factory=Vitals, compare=False)


@dataclass(frozen=True)
class Refusal:
    """A version that has the alias and is not served.

    Attributes
    ----------
    attempts : how often loading it was tried; the pauses between grow to half a minute.
    """

    version: int
    reason: str
    remedy: str
    since: datetime
    attempts: int
    retry_at: float


@dataclass(frozen=True)
class Standing:
    """What is served under one name, for `/readyz` and the registry's routes.

    Attributes
    ----------
    promoted : some version has the alias.
    ready : some version is served, if not always the one with the alias.
    """

    name: str
    family: str
    champion: Champion | None
    refusal: Refusal | None
    promoted: bool
    ready: bool
    detail: str


class Champions:
    """The loaded champions and the thread that follows the aliases.

    Parameters
    ----------
    shadows : what answers silently beside them; follows its alias in the same look at the registry.
    """

    def __init__(self, settings: Settings, registry: Registry, shadows: Shadows | None = None) -> None:
        self._settings = settings
        self._registry = registry
        self._shadows = shadows
        self._guard = Guard(settings, registry)
        self._beside: Mapping[str, tuple[int, str]] = {}
        self._champions: Mapping[str, Champion] = {}
        self._refusals: dict[str, Refusal] = {}
        self._aliases: Mapping[str, int | None] = {}
        self._families: Mapping[str, str] = {name: name for name in FAMILIES}
        self._registry_error: str | None = None
        self._looked = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="champions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(30.0)
            self._thread = None

    def wake(self) -> None:
        """Look at the aliases at once rather than at the next turn."""
        self._wake.set()

    def get(self, name: str, family: str) -> Champion:
        """The champion of a model.

        Raises
        ------
        NoChampion : nothing has been promoted yet, or it could not be loaded; says what to run.
        UnknownModel : no model of that name.
        InvalidValue : the model belongs to another family.
        """
        champion = self._champions.get(name)
        if champion is not None and champion.family == family:
            return champion
        raise self._absence(name, family)

    def _absence(self, name: str, family: str) -> MeritError:
        found = self._families.get(name)
        if found is not None and found != family:
            return InvalidValue(
                f"The model {name!r} belongs to the family {found}, not {family}.",
                remedy=f"Use one of: {', '.join(self._names(family))}.",
                field="model",
                value=name,
            )
        if not self._looked:
            return NoChampion("The champions are still being loaded.", remedy="Try again in a few seconds.")
        if found is None:
            return UnknownModel(
                f"There is no model {name!r}.",
                remedy=f"Use one of: {', '.join(self._names(family))}.",
                field="model",
                value=name,
            )
        standing = self._standing(name)
        return NoChampion(standing.detail, remedy=self._remedy(name), field="model", value=name)

    def standings(self) -> list[Standing]:
        """Every model of a family that is known here, the default ones first."""
        return [self._standing(name) for name in self._families]

    @property
    def looked(self) -> bool:
        """Whether the aliases have been looked at since the start."""
        return self._looked

    @property
    def registry_error(self) -> str | None:
        """Why the registry did not answer when last asked; None when it did."""
        return self._registry_error

    def _names(self, family: str) -> list[str]:
        return [name for name, own in self._families.items() if own == family]

    def _standing(self, name: str) -> Standing:
        champion = self._champions.get(name)
        refusal = self._refusals.get(name)
        alias = self._aliases.get(name)
        if champion is not None and refusal is None:
            detail = f"{name} version {champion.version} is served."
        elif champion is not None and refusal is not None:
            detail = (
                f"{name} version {refusal.version} was refused, version {champion.version} is served: {refusal.reason}"
            )
        elif refusal is not None:
            detail = f"{name} version {refusal.version} was refused: {refusal.reason}"
        elif alias is not None:
            detail = f"{name} version {alias} is being loaded."
        else:
            detail = f"The model {name!r} has no champion yet."
        return Standing(name, self._families[name], champion, refusal, alias is not None, champion is not None, detail)

    def _remedy(self, name: str) -> str:
        refusal = self._refusals.get(name)
        if refusal is not None:
            return refusal.remedy
        if self._registry_error:
            return "`merit doctor` tells what is wrong with the registry."
        family = self._families.get(name, name)
        return f"Run `merit train {family}{'' if name == family else f' --name {name}'}`."

    def remedy(self, standing: Standing) -> str:
        """What to do about a model that is not served as its alias says; "" when nothing."""
        return "" if standing.ready and standing.refusal is None else self._remedy(standing.name)

    def _watch(self) -> None:
        while not self._closing.is_set():
            try:
                self.look()
            except Exception:  # the watcher must outlive whatever happens to it
                log.exception("The watcher of champions failed and goes on")
            self._wake.wait(self._settings.watch_seconds)
            self._wake.clear()

    def look(self) -> None:
        """Read every alias once and swap what has moved. The watcher calls this; so may a test."""
        with self._turn:
            try:
                aliases = self._read_aliases()
            except Exception as error:  # noqa: BLE001  whatever the registry raises, what is loaded goes on serving
                if self._registry_error is None:
                    log.error("The registry does not answer, the loaded champions go on serving: %s", error)
                self._registry_error = f"{type(error).__name__}: {error}"[:300]
                return
            if self._registry_error is not None:
                log.warning("The registry answers again.")
            self._registry_error = None
            before, self._aliases = self._aliases, aliases
            for name, version in aliases.items():
                if self._closing.is_set():
                    return
                if version is not None:
                    self._follow(name, version)
                elif before.get(name) is None:  # at two looks in a row, so not while an alias is being moved
                    self._withdraw(name)
            self._looked = True
            if self._shadows is not None:
                self._shadows.follow(self._beside)
            for champion in self._champions.values():
                if aliases.get(champion.name) == champion.version and self._guard.look(
                    champion.name, champion.version, champion.vitals
                ):
                    self._wake.set()

    def _read_aliases(self) -> dict[str, int | None]:
        """Model → version with the alias, of every model of a family that is known here."""
        models = self._registry.models()
        found = {model.name: model.aliases.get(ALIAS) for model in models}
        families = {name: name for name in FAMILIES}
        for name, version in found.items():
            family = families.get(name) or self._families.get(name)
            if family is None and version is not None:
                family = self._registry.version(name, version).tags.get("family")
            if family is not None and family in FAMILIES:
                families[name] = family
        self._families = families
        if self._shadows is not None:
            beside = {model.name: self._shadows.wanted(model.name, model.aliases) for model in models}
            self._beside = {
                name: (version, families[name])
                for name, version in beside.items()
                if version is not None and name in families
            }
        return {name: found.get(name) for name in families}

    def _withdraw(self, name: str) -> None:
        self._refusals.pop(name, None)
        if name in self._champions:
            log.warning("The champion of %s was withdrawn.", name)
            self._champions = {key: value for key, value in self._champions.items() if key != name}

    def _follow(self, name: str, version: int) -> None:
        current = self._champions.get(name)
        if current is not None and current.version == version:
            self._refusals.pop(name, None)
            return
        refused = self._refusals.get(name)
        if refused is not None and refused.version == version and time.monotonic() < refused.retry_at:
            return
        begin = time.perf_counter()
        try:
            champion = self._load(name, version)
        except Exception as error:  # noqa: BLE001  a broken artifact can raise anything; the old champion stays
            self._refuse(name, version, error, refused if refused and refused.version == version else None)
            return
        self._champions = {**self._champions, name: champion}
        self._refusals.pop(name, None)
        log.info("%s version %d is served, loaded in %.2f s", name, version, time.perf_counter() - begin)

    def _load(self, name: str, version: int) -> Champion:
        expected = self._promoted_sha256(name, version)
        info = self._registry.version(name, version)
        folder = self._registry.fetch(name, version)
        found = folder_sha256(folder)
        if found != expected:
            raise IntegrityFailed(
                f"The artifact of {name} version {version} has the SHA-256 {found[:12]}…, "
                f"the promotion ledger says {expected[:12]}….",
                remedy=f"Go back with `merit registry rollback {name}` and find out who changed the artifact.",
            )
        family = self._families[name]
        model: Any = Spec(family, name).build().load(folder)
        scorer = warm_up(family, model)
        tags = info.tags
        return Champion(
            name=name,
            family=family,
            version=version,
            run_id=info.run_id,
            digest=tags.get("dataset_digest"),
            git_commit=tags.get("git_commit"),
            candidate=tags.get("candidate"),
            sha256=found,
            model=model,
            scorer=scorer,
            series=dict.fromkeys(model.ids) if family == "forecasting" else {},
            loaded_at=utc_now(),
        )

    def _promoted_sha256(self, name: str, version: int) -> str:
        if done := ledger.promoted_sha256(self._settings, name, version):
            return done
        # The alias moves before the ledger's line is settled; a process may even have died in between.
        for line in reversed(ledger.lines(self._settings, name, "intended")):
            if line.to_version == version and line.artifact_sha256:
                return line.artifact_sha256
        current = self._champions.get(name)
        back = f" --to {current.version}" if current else " --to VERSION"
        raise IntegrityFailed(
            f"{name} version {version} has the alias {ALIAS!r}, but the promotion ledger does not know it.",
            remedy=f"Go back with `merit registry rollback {name}{back}`, then use `merit registry promote`.",
        )

    def _refuse(self, name: str, version: int, error: Exception, earlier: Refusal | None) -> None:
        reason = error.message if isinstance(error, MeritError) else f"{type(error).__name__}: {error}"[:500]
        remedy = error.remedy if isinstance(error, MeritError) else ""
        attempts = earlier.attempts + 1 if earlier else 1
        self._refusals[name] = Refusal(
            version=version,
            reason=reason,
            remedy=remedy or f"Go back with `merit registry rollback {name}`, or train again.",
            since=earlier.since if earlier else utc_now(),
            attempts=attempts,
            retry_at=time.monotonic() + min(LONGEST_PAUSE, self._settings.watch_seconds * 2 ** (attempts - 1)),
        )
        if earlier is not None:
            return
        current = self._champions.get(name)
        stays = f"version {current.version} stays" if current else "nothing is served under that name"
        log.error("%s version %d was refused, %s: %s", name, version, stays, reason)
        emit(
            self._settings,
            "champion_refused",
            {"model": name, "version": version, "served": current.version if current else None, "reason": reason},
        )
