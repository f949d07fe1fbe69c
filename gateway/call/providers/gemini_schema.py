"""JSON Schema as Gemini takes it: a subset, without references, and types that allow null said another way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_KEPT = (
    "title", "description", "nullable", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength",
    "minProperties", "maxProperties", "pattern", "propertyOrdering",
)  # fmt: skip
_FORMATS = {
    "string": ("enum", "date-time"),
    "number": ("float", "double"),
    "integer": ("int32", "int64"),
}
# A schema that refers to itself is cut here, and accepts anything below.
_DEEPEST = 12


def gemini_schema(schema: Any) -> dict[str, Any] | None:
    """The schema in Gemini's subset; None where it says nothing, as for a function without parameters.

    References are followed, `allOf` is merged, `oneOf` is `anyOf`, `const` is an enum of one. What the subset has no
    word for is left out: it narrows what is allowed, and the model sees the description still.
    """
    if not isinstance(schema, Mapping):
        return None
    cleaned = _clean(schema, schema, 0)
    if cleaned.get("type") == "object" and not cleaned.get("properties"):
        return None
    return cleaned or None


def _clean(schema: Any, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return {}
    schema = _resolved(schema, root)
    cleaned: dict[str, Any] = {name: schema[name] for name in _KEPT if name in schema}
    kind, nullable = _kind(schema)
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list):
        meant = [option for option in options if not _is_null(option)]
        nullable = nullable or len(meant) < len(options)
        inner = [_clean(option, root, depth + 1) for option in meant]
        if len(inner) == 1:
            cleaned = {**inner[0], **cleaned}
            kind = kind or cleaned.get("type")
        elif inner:
            cleaned["anyOf"] = inner
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(allowed, list):
        nullable = nullable or None in allowed
        kind = _enumerate(cleaned, [value for value in allowed if value is not None], kind)
    if kind is None and "anyOf" not in cleaned:
        kind = "object" if "properties" in schema else "array" if "items" in schema else None
    if isinstance(kind, str):
        cleaned["type"] = kind
        if schema.get("format") in _FORMATS.get(kind, ()):
            cleaned["format"] = schema["format"]
    if kind == "array":
        cleaned["items"] = _clean(schema.get("items"), root, depth + 1) or cleaned.get("items") or {"type": "string"}
    if kind == "object" and isinstance(schema.get("properties"), Mapping):
        properties = {str(name): _clean(inner, root, depth + 1) for name, inner in schema["properties"].items()}
        cleaned["properties"] = properties
        required = schema.get("required")
        if isinstance(required, list):
            # A name that is required but nowhere described is refused.
            names = [name for name in required if name in properties]
            if names:
                cleaned["required"] = names
    if nullable:
        cleaned["nullable"] = True
    return cleaned


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with its reference followed and its `allOf` merged."""
    for _ in range(8):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            break
        found: Any = root
        for step in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, Mapping) else None
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**(found if isinstance(found, Mapping) else {}), **beside}
    parts = schema.get("allOf")
    if not isinstance(parts, list):
        return schema
    merged = {name: value for name, value in schema.items() if name != "allOf"}
    for part in parts[:16]:
        if isinstance(part, Mapping):
            inner = _resolved(part, root) if part is not schema else {}
            properties = {**_mapping(merged.get("properties")), **_mapping(inner.get("properties"))}
            required = [*_list(merged.get("required")), *_list(inner.get("required"))]
            merged = {**inner, **merged}
            if properties:
                merged["properties"] = properties
            if required:
                merged["required"] = list(dict.fromkeys(map(str, required)))
    return merged


def _kind(schema: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The type, and whether null is one too; of several types the first, which is what most values have."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return kind.lower(), False
    if not isinstance(kind, list):
        return None, False
    kinds = [str(name).lower() for name in kind]
    return next((name for name in kinds if name != "null"), None), "null" in kinds


def _enumerate(cleaned: dict[str, Any], values: Sequence[Any], kind: str | None) -> str | None:
    """Enums are of texts alone: others are said in the description, where the model still reads them."""
    if values and all(isinstance(value, str) for value in values):
        cleaned["enum"] = list(values)
        return "string"
    if values:
        listed = ", ".join(str(value) for value in values[:50])
        cleaned["description"] = f"{cleaned.get('description', '')} One of: {listed}.".strip()
        if kind is None:
            first = values[0]
            kind = "boolean" if isinstance(first, bool) else "integer" if isinstance(first, int) else "number"
    return kind


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
