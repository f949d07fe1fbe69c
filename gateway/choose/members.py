"""Which models are asked together, as an ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.choose.ensemble import Ensemble
from gateway.choose.limits import Expected, Group
from gateway.choose.virtual import Names
from gateway.money import NANOS_PER_DOLLAR
from gateway.prompt import Options
from store.errors import InvalidValue

# A provider that is not among the members yet makes up for so much of a score: its models err in other places.
_ANOTHER = 0.05


def described(ensemble: Ensemble, options: Options, names: Names) -> Ensemble:
    """An ensemble with what a request says of it; members and weights by their ids.

    Raises
    ------
    InvalidValue : a member or a judge that is no model, or a weight of no member.
    """
    if options.members or options.weights or options.judge is not None:
        ensemble = replace(
            ensemble,
            members=options.members or ensemble.members,
            weights=options.weights or ensemble.weights,
            judge=options.judge if options.judge is not None else ensemble.judge,
        )
    if not (ensemble.members or ensemble.weights or ensemble.judge):
        return ensemble
    members = tuple(_id(member, "members", names) for member in ensemble.members)
    weights = {_id(member, "weights", names): weight for member, weight in ensemble.weights.items()}
    for member in weights.keys() - set(members) if members else ():
        raise InvalidValue(
            f"The ensemble gives a weight to {member!r}, which is no member.",
            remedy=f"Its members are {', '.join(members)}.",
            field="merit.weights",
            value=member,
        )
    judge = None if ensemble.judge is None else _id(ensemble.judge, "judge", names)
    return replace(ensemble, members=members, weights=weights, judge=judge)


def together(
    ensemble: Ensemble,
    group: Group,
    order: Sequence[int],
    scores: Sequence[float],
    expected: Expected,
    max_cost: float | None,
) -> tuple[list[int], Mapping[str, str]]:
    """Places of the members in the group, the best first, and why others that might have been are none.

    Named members are asked as far as they may answer. Where none is named, the best are taken, of different providers
    where they are about equally good; where fewer models than members are left, the best are asked several times, but
    for a consensus, which needs different ones. Together they keep within `max_cost`, the last ones left out first.

    Parameters
    ----------
    order : places of those that may answer, the best first.
    max_cost : dollars for all of them.
    """
    if ensemble.members:
        admitted = {group.ids[place]: place for place in order}
        chosen = sorted(
            [admitted[member] for member in ensemble.members if member in admitted],
            key=lambda place: scores[place],
            reverse=True,
        )
    else:
        chosen = _spread(group, order, scores, ensemble.size)
        if ensemble.rule != "consensus" and chosen:
            distinct = list(chosen)
            while len(chosen) < ensemble.size:
                chosen.append(distinct[len(chosen) % len(distinct)])
    excluded: dict[str, str] = {}
    if max_cost is not None:
        total = sum(expected.reserve[place] for place in chosen)
        while len(chosen) > 1 and total > max_cost * NANOS_PER_DOLLAR:
            place = chosen.pop()
            dollars = total / NANOS_PER_DOLLAR
            total -= expected.reserve[place]
            excluded[group.ids[place]] = f"too dear: up to ${dollars:.6f} together, max_cost is ${max_cost:.6f}"
    return chosen, excluded


def least_members(ensemble: Ensemble) -> int:
    """How many must be askable: half of the named ones and more for a consensus, two where none is named, else one."""
    if ensemble.rule == "consensus":
        return ensemble.least if ensemble.members else 2
    return 1 if ensemble.members else 2


def _spread(group: Group, order: Sequence[int], scores: Sequence[float], size: int) -> list[int]:
    left = list(order)
    chosen: list[int] = []
    providers: set[str] = set()
    while left and len(chosen) < size:
        best = max(left, key=lambda place: scores[place] + _ANOTHER * (group.models[place].provider not in providers))
        left.remove(best)
        chosen.append(best)
        providers.add(group.models[best].provider)
    return chosen


def _id(name: str, field: str, names: Names) -> str:
    found = names.model_of(name)
    if found is None:
        raise InvalidValue(
            f"{name[:80]!r} is no model that can be part of an ensemble.",
            remedy="Name models as provider/model; GET /v1/models lists them.",
            field=f"merit.{field}",
            value=name[:80],
        )
    return found
