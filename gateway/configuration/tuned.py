"""Tuned models laid over the configuration: those that an evaluation admitted, and those that are being evaluated."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from gateway.choose.catalogue import Model
from gateway.configuration.loading import Configuration
from store import tuned_models
from store.database import migrate
from store.errors import MeritError
from store.settings import Settings
from store.tuned_models import TunedModel

log = logging.getLogger("merit.gateway")


class TunedModels:
    """Follows the table of tuned models. Blocks while it reads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: tuple[TunedModel, ...] = ()
        self._version: tuple[int, datetime | None] = (0, None)

    def changed(self) -> bool:
        """Whether there is anything that was not laid over the last configuration; not while nobody can tell."""
        try:
            return tuned_models.version(self._settings) != self._version
        except (MeritError, SQLAlchemyError) as error:
            log.warning("Tuned models cannot be looked for: %s", error)
            return False

    def laid_over(self, configuration: Configuration) -> Configuration:
        """The configuration with the tuned models of its own models; what cannot be read stays as it was known."""
        try:
            migrate(self._settings)
            version = tuned_models.version(self._settings)
            if version != self._version:
                self._known, self._version = tuned_models.listed(self._settings), version
        except (MeritError, SQLAlchemyError) as error:
            log.warning("Tuned models cannot be read: %s", error)
        made: dict[str, Model] = {}
        notes = list(configuration.notes)
        for one in self._known:
            base = configuration.models.get(one.base_model)
            if base is None or base.tuning is None:
                notes.append(f"{one.id} is left out: {one.base_model}, which it was made of, is not in the catalogue.")
            elif one.id not in configuration.models:
                made[one.id] = tuned(base, one)
        if not made:
            return replace(configuration, notes=tuple(notes))
        said = f"{configuration.digest}{self._version}".encode()
        return replace(
            configuration,
            models={**configuration.models, **made},
            digest=hashlib.sha256(said).hexdigest(),
            notes=tuple(notes),
            restricted=True,
        )


def tuned(base: Model, row: TunedModel) -> Model:
    """A tuned model as its base, but for its name, price, quality and who may ask it."""
    assert base.tuning is not None
    return replace(
        base,
        id=row.id,
        name=row.id.partition("/")[2],
        price=base.tuning.price,
        quality=dict(row.quality) or base.quality,
        tuning=None,
        workspaces=frozenset(row.workspaces),
        trial=row.state == "trial",
    )
