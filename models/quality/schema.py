"""How far a value fits a JSON schema: types, required and further properties, enumerations, bounds, references within.

A part of the standard (Draft 2020-12), the part that callers ask models to keep to; what is not known is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEEPEST = 24
_MOST_ITEMS = 200
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def fits(value: Any, schema: Mapping[str, Any]) -> float:
    """1 where it fits; otherwise the share of checks that it passes, never above 0.6."""
    done, failed = _check(value, schema, schema, 0)
    return 1.0 if not failed else 0.6 * (1.0 - failed / done)


def _check(value: Any, schema: Any, root: Mapping[str, Any], depth: int) -> tuple[int, int]:
    """Checks that were made, and those that failed."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return (1, int(schema is False))
    if "$ref" in schema:
        return _check(value, _referred(str(schema["$ref"]), root), root, depth + 1)
    for name in ("anyOf", "oneOf"):
        several = schema.get(name)
        if isinstance(several, list) and several:
            found = [_check(value, one, root, depth + 1) for one in several[:20]]
            return min(found, key=lambda one: one[1] / max(1, one[0]))
    done, failed = 1, int(not _typed(value, schema.get("type")))
    if failed:
        return done, failed
    for name, passed in (("enum", _among(value, schema)), ("const", schema.get("const", value) == value)):
        if name in schema:
            done, failed = done + 1, failed + (not passed)
    if isinstance(schema.get("allOf"), list):
        for one in schema["allOf"][:20]:
            more = _check(value, one, root, depth + 1)
            done, failed = done + more[0], failed + more[1]
    more = _inside(value, schema, root, depth)
    return done + more[0], failed + more[1]


def _inside(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> tuple[int, int]:
    done = failed = 0
    if isinstance(value, dict):
        known = schema.get("properties")
        properties = known if isinstance(known, Mapping) else {}
        required = schema.get("required")
        for name in required if isinstance(required, list) else ():
            done, failed = done + 1, failed + (name not in value)
        for name, one in value.items():
            if name in properties:
                more = _check(one, properties[name], root, depth + 1)
                done, failed = done + more[0], failed + more[1]
            elif schema.get("additionalProperties") is False:
                done, failed = done + 1, failed + 1
    elif isinstance(value, list):
        for one in value[:_MOST_ITEMS] if "items" in schema else ():
            more = _check(one, schema["items"], root, depth + 1)
            done, failed = done + more[0], failed + more[1]
        done, failed = _bounds(len(value), schema, "minItems", "maxItems", (done, failed))
    elif isinstance(value, str):
        done, failed = _bounds(len(value), schema, "minLength", "maxLength", (done, failed))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        done, failed = _bounds(value, schema, "minimum", "maximum", (done, failed))
    return done, failed


def _bounds(size: float, schema: Mapping[str, Any], least: str, most: str, sofar: tuple[int, int]) -> tuple[int, int]:
    done, failed = sofar
    for name, sign in ((least, 1.0), (most, -1.0)):
        bound = schema.get(name)
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            done, failed = done + 1, failed + (sign * size < sign * bound)
    return done, failed


def _among(value: Any, schema: Mapping[str, Any]) -> bool:
    allowed = schema.get("enum")
    return not isinstance(allowed, list) or value in allowed


def _typed(value: Any, kind: Any) -> bool:
    if kind is None:
        return True
    kinds = kind if isinstance(kind, list) else [kind]
    for one in kinds:
        expected = _TYPES.get(one) if isinstance(one, str) else None
        if expected is None:
            return True
        if isinstance(value, bool):
            if one == "boolean":
                return True
        elif isinstance(value, expected) or (one == "integer" and isinstance(value, float) and value.is_integer()):
            return True
    return False


def _referred(name: str, root: Mapping[str, Any]) -> Any:
    place: Any = root
    for step in name.removeprefix("#/").split("/") if name.startswith("#/") else ():
        place = place.get(step) if isinstance(place, Mapping) else None
    return place
