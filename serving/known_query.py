"""A question with a misspelt filter is refused: it would be answered as if there were no filter."""

from __future__ import annotations

import difflib

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from store.errors import InvalidValue


def _only_known(request: Request) -> None:
    """
    Raises
    ------
    InvalidValue : the query names something that the route does not take.
    """
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = _taken(route)
    if unknown := sorted(set(request.query_params) - known):
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.6)
        listed = f"Use {', '.join(sorted(known))}." if known else "Leave it out."
        raise InvalidValue(
            f"{request.url.path} takes no {unknown[0][:50]!r} in its query.",
            remedy=f"Did you mean {near[0]}? {listed}" if near else listed,
            field=unknown[0][:50],
            value=request.query_params[unknown[0]][:50],
        )


def _taken(route: APIRoute) -> frozenset[str]:
    found: set[str] = set()
    waiting: list[Dependant] = [route.dependant]
    while waiting:
        one = waiting.pop()
        found.update(field.alias for field in one.query_params)
        waiting += one.dependencies
    return frozenset(found)


ONLY_KNOWN = Depends(_only_known)
