"""Names that stand for something else: aliases of models and strategies, and ensembles of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.choose.catalogue import DOMAINS
from gateway.choose.ensemble import RULES, Ensemble
from gateway.choose.virtual import DESCRIPTIONS
from gateway.configuration.offers import Catalogue
from gateway.configuration.problems import Problems, did_you_mean, quoted
from gateway.configuration.schema import EnsembleSection, ModelSection

STRATEGIES = tuple(str(one) for one in DESCRIPTIONS)
_TAKEN = frozenset({*STRATEGIES, *RULES})
_LONGEST = 200


@dataclass
class VirtualNames:
    """Collects aliases and ensembles. What leads to a model that is left out is left out, too."""

    catalogue: Catalogue
    problems: Problems
    notes: list[str]
    aliases: dict[str, str] = field(default_factory=dict)
    ensembles: dict[str, Ensemble] = field(default_factory=dict)

    def add_ensemble(self, name: str, section: EnsembleSection) -> None:
        place = f"ensembles.{quoted(name)}"
        before = len(self.problems.found)
        if not 0 < len(name) <= _LONGEST or "/" in name or not name.isprintable():
            self.problems.add(place, "", f"{name!r} cannot name an ensemble.", "Use a short name without a slash.")
        if name in _TAKEN:
            self.problems.add(place, "", f"{name!r} means something already.", "Choose another name.")
        if len(section.members) == 1:
            self.problems.add(place, "members", "one alone is no ensemble.", "Name two or more, or none.")
        for member in dict.fromkeys([*section.members, *([section.judge] if section.judge else [])]):
            self._check_model(place, "judge" if member == section.judge else "members", member)
        for member in section.weights:
            if member not in section.members:
                self.problems.add(place, "weights", f"{member!r} is no member.", did_you_mean(member, section.members))
        if section.weights and section.members and not any(section.weights.get(one, 1.0) for one in section.members):
            self.problems.add(place, "weights", "all are 0.", "Give one member a weight.")
        if len(self.problems.found) > before:
            return
        members = tuple(member for member in section.members if member in self.catalogue.models)
        if gone := [member for member in section.members if member not in members]:
            self.notes.append(f"{place} goes without what is left out: {', '.join(gone)}.")
        if len(members) == 1 or (section.members and not members):
            self.notes.append(f"{place} is left out: too few of its members are left.")
            return
        self.ensembles[name] = Ensemble(
            rule=section.rule,
            members=members,
            weights={member: weight for member, weight in section.weights.items() if member in members},
            size=section.size,
            threshold=section.threshold,
            judge=section.judge if section.judge in self.catalogue.models else None,
        )

    def add_aliases(self, aliases: Mapping[str, object]) -> None:
        for name, target in aliases.items():
            if not isinstance(target, str):
                self.problems.add("aliases", name, f"{target!r} is not a name.", 'Write it as "provider/model".')
                continue
            self._add(("aliases", name), name, target)

    def add_aliases_of(self, model_id: str, section: ModelSection) -> None:
        for name in section.aliases:
            self._add((f'models."{model_id}"', "aliases"), name, model_id)

    def _add(self, place: tuple[str, str], name: str, target: str) -> None:
        taken = name in _TAKEN or name in self.ensembles or name in self.catalogue.named
        if taken or name.startswith("ensemble/"):
            self.problems.add(*place, f"{name!r} means something already.", "Choose another name.")
        elif name in self.aliases and self.aliases[name] != target:
            self.problems.add(*place, f"{name!r} is an alias of {self.aliases[name]} already.", "Choose another name.")
        elif not 0 < len(name) <= _LONGEST or not name.isprintable():
            self.problems.add(*place, f"{name[:_LONGEST]!r} cannot be an alias.", "Use 1 to 200 printable characters.")
        elif self._leads_somewhere(place, target):
            self.aliases[name] = target

    def _leads_somewhere(self, place: tuple[str, str], target: str) -> bool:
        strategy, parted, domain = target.partition(":")
        if strategy in STRATEGIES and (not parted or domain in DOMAINS):
            return True
        if target in self.catalogue.models:
            return True
        if target.removeprefix("ensemble/") in {*self.ensembles, *RULES} and target.startswith("ensemble/"):
            return True
        if self.catalogue.knows(target):
            self.notes.append(f"The alias {place[1] if place[0] == 'aliases' else target} is out, as {target} is.")
            return False
        choices = {*STRATEGIES, *self.catalogue.named, *(f"ensemble/{name}" for name in {*self.ensembles, *RULES})}
        self.problems.add(*place, f"there is no {target!r}.", did_you_mean(target, choices))
        return False

    def _check_model(self, place: str, key: str, model_id: str) -> None:
        if not self.catalogue.knows(model_id):
            message = f"there is no model {model_id!r}."
            self.problems.add(place, key, message, did_you_mean(model_id, self.catalogue.named))
            return
        model = self.catalogue.models.get(model_id)
        if model is not None and model.kind != "chat":
            self.problems.add(place, key, f"{model_id} makes {model.kind}, no answers.", "Name a model that chats.")
