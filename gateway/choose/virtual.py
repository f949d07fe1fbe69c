"""What the field `model` of a request may say: a strategy, an ensemble, an alias, or one model by its name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.choose.catalogue import DOMAINS, Model
from gateway.choose.ensemble import RULES, Ensemble
from store.errors import InvalidValue, UnknownLlm

_LONGEST = 256
_ENSEMBLE = "ensemble/"


class Strategy(StrEnum):
    """How a model is chosen."""

    AUTO = "auto"
    CHEAPEST = "cheapest"
    FASTEST = "fastest"
    BEST = "best"
    ROUND_ROBIN = "round-robin"
    CAPABILITY = "capability"
    PREFERRED = "preferred"
    PRIVATE = "private"
    EXPLICIT = "explicit"
    ENSEMBLE = "ensemble"


DESCRIPTIONS: Mapping[Strategy, str] = {
    Strategy.AUTO: "The model with the best balance of expected quality, cost and time for this prompt.",
    Strategy.CHEAPEST: "The cheapest model that is expected to be good enough for this prompt.",
    Strategy.FASTEST: "The model whose whole answer is expected first.",
    Strategy.BEST: "The model with the highest expected quality, whatever it costs.",
    Strategy.ROUND_ROBIN: "Each model that may answer in its turn, fewer calls to those that are busy.",
    Strategy.CAPABILITY: "The model whose abilities fit this kind of task best.",
    Strategy.PREFERRED: "The model that this user's own history speaks for, otherwise as auto.",
    Strategy.PRIVATE: "As auto, among models on the own machines alone; the prompt leaves none of them.",
}
_ENSEMBLES: Mapping[str, str] = {
    "majority": "Several models answer, and the answer that most of them give is returned.",
    "weighted": "A vote of several models, each with a weight of its own.",
    "confidence": "A vote of several models, each as strong as it is sure of its answer.",
    "best-of-n": "Several answers, of which the one with the best score is returned.",
    "consensus": "Several models answer, and an answer is returned only if enough of them agree.",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a name means.

    Attributes
    ----------
    model : id of the one model, for "explicit".
    ensemble : for "ensemble".
    hint : of "auto:code", the domain that the caller says; None otherwise.
    """

    strategy: Strategy
    model: str | None = None
    ensemble: Ensemble | None = None
    hint: str | None = None


class Names:
    """Every name that may stand in the field `model`.

    Looked up in this order: strategies (also as `auto:code`, with the domain said), aliases, ids `provider/model`,
    ensembles (`ensemble/majority`, `ensemble/NAME`, and `NAME` of a configured one), names of a provider's own that
    only one provider has (`gpt-5-mini`).

    Parameters
    ----------
    aliases : name → any other name that is known here, another alias among them.
    ensembles : name → ensemble.

    Raises
    ------
    InvalidValue : an alias or ensemble has the name of a strategy, an alias leads nowhere or in a circle, or a member
        of an ensemble is no model.
    """

    def __init__(
        self, catalogue: Sequence[Model], aliases: Mapping[str, str] | None = None,
        ensembles: Mapping[str, Ensemble] | None = None,
    ) -> None:  # fmt: skip
        self._strategies = {str(one): Asked(one) for one in DESCRIPTIONS}
        self._ids = {model.id: Asked(Strategy.EXPLICIT, model=model.id) for model in catalogue}
        self._bare: dict[str, list[str]] = {}
        for model in catalogue:
            self._bare.setdefault(model.name, []).append(model.id)
        self.aliases = dict(aliases or {})
        self.ensembles: dict[str, Ensemble] = {rule: Ensemble(rule) for rule in RULES}
        for name, ensemble in (ensembles or {}).items():
            self._refuse_taken(name, "ensemble")
            self.ensembles[name] = ensemble
        for name in self.aliases:
            self._refuse_taken(name, "alias")
        self._targets: dict[str, Asked] = {}
        self._targets = {name: self._follow(name) for name in self.aliases}
        for name, ensemble in (ensembles or {}).items():
            for member in ensemble.members:
                if self.model_of(member) is None:
                    raise InvalidValue(
                        f"The ensemble {name!r} has the member {member!r}, which is no model.",
                        remedy=f"Name its id, provider/model.{self._near(member)}",
                        field=f"ensembles.{name}.members",
                        value=member,
                    )

    def parse(self, name: str) -> Asked:
        """What a name means.

        Raises
        ------
        UnknownLlm : there is no such strategy, ensemble, alias or model, or several providers have a model so named.
        """
        found = self._find(name)
        if found is not None:
            return found
        several = self._bare.get(name, ())
        if len(several) > 1:
            raise UnknownLlm(
                f"{name!r} is offered by several providers: {', '.join(several[:8])}.",
                remedy="Say which one, as provider/model, or define an alias for one of them.",
                field="model",
                value=name,
            )
        shown = name if len(name) <= 80 else name[:80] + "…"
        raise UnknownLlm(
            f"There is no model, strategy or ensemble {shown!r}.",
            remedy=f"GET /v1/models lists what there is.{self._near(name)}",
            field="model",
            value=shown,
        )

    def model_of(self, name: str) -> str | None:
        """Id of the one model that a name means; None where it means none, or something else."""
        found = self._find(name)
        return found.model if found is not None else None

    def listed(self, created: int = 0) -> list[dict[str, Any]]:
        """Strategies, ensembles and aliases as `/v1/models` shows them."""
        shown = [(str(name), text) for name, text in DESCRIPTIONS.items()]
        for name, ensemble in self.ensembles.items():
            text = _ENSEMBLES[ensemble.rule]
            if ensemble.members:
                text += f" Members: {', '.join(ensemble.members)}."
            shown.append((_ENSEMBLE + name, text))
        shown += [(name, f"Another name of {target}.") for name, target in self.aliases.items()]
        return [
            {"id": name, "object": "model", "created": created, "owned_by": "meritorder", "description": text}
            for name, text in shown
        ]

    def _find(self, name: str) -> Asked | None:
        if len(name) > _LONGEST:
            return None
        found = self._strategies.get(name) or self._targets.get(name) or self._ids.get(name)
        if found is not None:
            return found
        if name.startswith(_ENSEMBLE) or name in self.ensembles:
            ensemble = self.ensembles.get(name.removeprefix(_ENSEMBLE))
            return Asked(Strategy.ENSEMBLE, ensemble=ensemble) if ensemble is not None else None
        strategy, parted, hint = name.partition(":")
        if parted and hint in DOMAINS and strategy in self._strategies:
            return Asked(self._strategies[strategy].strategy, hint=hint)
        ids = self._bare.get(name, ())
        return self._ids[ids[0]] if len(ids) == 1 else None

    def _follow(self, name: str) -> Asked:
        seen = [name]
        target = self.aliases[name]
        while target in self.aliases:
            if target in seen:
                raise InvalidValue(
                    f"The alias {name!r} leads in a circle: {' → '.join([*seen, target])}.",
                    remedy="Let one of them name a model.",
                    field=f"aliases.{name}",
                    value=target,
                )
            seen.append(target)
            target = self.aliases[target]
        found = self._find(target)
        if found is None:
            raise InvalidValue(
                f"The alias {name!r} stands for {target!r}, which there is not.",
                remedy=f"Name a strategy, an ensemble or a model as provider/model.{self._near(target)}",
                field=f"aliases.{name}",
                value=target,
            )
        return found

    def _refuse_taken(self, name: str, what: str) -> None:
        if name in self._strategies or name in RULES or name.startswith(_ENSEMBLE) or not 1 <= len(name) <= _LONGEST:
            raise InvalidValue(
                f"{name[:80]!r} cannot name an {what}: it is a strategy or a rule of ensembles, or no name.",
                remedy="Choose another name.",
                field=f"{what}s",
                value=name[:80],
            )

    def _near(self, name: str) -> str:
        names = [
            *self._strategies,
            *self.aliases,
            *self._ids,
            *self._bare,
            *(_ENSEMBLE + one for one in self.ensembles),
        ]
        near = difflib.get_close_matches(name[:_LONGEST], names, n=3, cutoff=0.6)
        return f" Did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
