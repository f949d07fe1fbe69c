"""Follows a promoted model: whatever version is champion now is fetched, checked, loaded and put to work.

The same rules as for the champions that serving answers with: the files must have the digest that the promotion ledger
holds, a version that fails is refused, told once and tried again later, and what worked before goes on working.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from store import ledger
from store.errors import IntegrityFailed, MeritError
from store.events import emit
from store.settings import Settings
from store.tables.base import utc_now

# Brings pandas along, a third of a gateway's memory, which one that has nothing promoted does not need.
if TYPE_CHECKING:
    from store.registry import Registry

log = logging.getLogger("merit.gateway")

ALIAS = "champion"
LONGEST_PAUSE_S = 30.0

# (the model, or None where none is champion any more; what decisions and the ledger call it: "routing v3")
Put = Callable[[Any, str], None]


@dataclass(frozen=True)
class Standing:
    """What of a model is in use.

    Attributes
    ----------
    version : in use; None: none.
    since : when it was put to work, naive UTC.
    refused : version that has the alias and is not used, and `why`.
    """

    name: str
    version: int | None = None
    since: datetime | None = None
    refused: int | None = None
    why: str = ""

    @property
    def label(self) -> str:
        """What decisions and the ledger call it; "" where none is in use."""
        return "" if self.version is None else f"{self.name} v{self.version}"


class Promoted:
    """One model. `look` waits for the registry: call it from a thread, every few seconds.

    Parameters
    ----------
    family : of the model; its `load` reads the files.
    put : puts a model to work by a single assignment; called from the thread that looks.
    clock : seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        put: Put,
        *,
        family: str | None = None,
        registry: Registry | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._family = family or name
        self._put = put
        self._registry = registry
        self._clock = clock
        self._tries = 0
        self._again = 0.0
        self._absent = 0
        self._deaf = False
        self.standing = Standing(name)

    def look(self) -> bool:
        """See which version is champion and put it to work where it is another; whether anything changed.

        Never raises: whatever goes wrong, what is in use stays in use.
        """
        try:
            version = self._champion()
        except Exception as error:  # noqa: BLE001  whatever the registry raises, what is in use stays in use
            if not self._deaf:
                log.error("The registry does not answer, %s stays in use: %s", self.standing.label or "nothing", error)
            self._deaf = True
            return False
        self._deaf = False
        if version is None:
            # At two looks in a row, so not while an alias is being moved.
            self._absent += 1
            return self._absent >= 2 and self._withdraw()
        self._absent = 0
        if version == self.standing.version:
            self.standing = replace(self.standing, refused=None, why="")
            return False
        if version == self.standing.refused and self._clock() < self._again:
            return False
        return self._take(version)

    def _champion(self) -> int | None:
        name = self.standing.name
        # Nothing was ever promoted: the registry need not even be opened.
        if self._registry is None and not ledger.history(self._settings, name, limit=1):
            return None
        if self._registry is None:
            from store.registry import Registry

            self._registry = Registry(self._settings)
        return self._registry.alias(name, ALIAS)

    def _take(self, version: int) -> bool:
        name = self.standing.name
        begin = time.perf_counter()
        try:
            model = self._load(version)
            self._put(model, f"{name} v{version}")
        except Exception as error:  # noqa: BLE001  a broken artifact can raise anything; the old one stays
            self._refuse(version, error)
            return False
        self.standing = Standing(name, version, utc_now())
        self._tries = 0
        log.info("%s version %d is in use, loaded in %.2f s", name, version, time.perf_counter() - begin)
        return True

    def _load(self, version: int) -> Any:
        from models.families import Spec

        name = self.standing.name
        assert self._registry is not None
        folder = self._registry.fetch(name, version)
        # The alias moves before the ledger's line is settled.
        promoted = ledger.promoted_sha256(self._settings, name, version) is not None or any(
            line.to_version == version for line in ledger.lines(self._settings, name, "intended")
        )
        if not promoted:
            raise IntegrityFailed(
                f"{name} version {version} has the alias {ALIAS!r}, but the promotion ledger does not know it.",
                remedy=f"Go back with `merit registry rollback {name}`, then use `merit registry promote`.",
            )
        return Spec(self._family, name).build().load(folder)

    def _withdraw(self) -> bool:
        before, self.standing = self.standing, Standing(self.standing.name)
        if before.version is None:
            return False
        log.warning("The champion of %s was withdrawn.", before.name)
        self._put(None, "")
        return True

    def _refuse(self, version: int, error: Exception) -> None:
        first = self.standing.refused != version
        self._tries = 1 if first else self._tries + 1
        pause = min(LONGEST_PAUSE_S, self._settings.watch_seconds * 2.0 ** (self._tries - 1))
        self._again = self._clock() + pause
        why = error.message if isinstance(error, MeritError) else f"{type(error).__name__}: {error}"[:500]
        self.standing = replace(self.standing, refused=version, why=why)
        if first:
            name, stays = self.standing.name, self.standing.label or "nothing"
            log.error("%s version %d was refused, %s stays in use: %s", name, version, stays, why)
            emit(
                self._settings,
                "champion_refused",
                {"model": name, "version": version, "served": self.standing.version, "reason": why},
            )
