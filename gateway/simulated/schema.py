"""JSON that fits a schema, with values from the prompt where it has some of that name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

_DEEPEST = 12
_FORMATS = {
    "date": "2026-10-31",
    "date-time": "2026-10-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "anna@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{0,64}\w")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,9})?")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-zà-ÿ]+(?: [A-Z][a-zà-ÿ]+)*")
_QUOTED = re.compile(r"[\"“'`]([^\"”'`\n]{1,80})[\"”'`]")


def fill(schema: Mapping[str, Any], text: str, answer: str | None = None) -> Any:
    """A value that fits the schema.

    Parameters
    ----------
    text : the prompt; a property takes the value that stands there under its name, or one of its type.
    answer : goes into a property that is called so.
    """
    return _Filler(schema, text, answer).value(schema, "", 0)


def spoil(value: Any, schema: Mapping[str, Any], rng: Random) -> Any:
    """The same with a slip that makes it unfit: a required property is missing, or has another type."""
    required = [name for name in schema.get("required", ()) if isinstance(value, dict) and name in value]
    if not required:
        return {"error": "unclear"} if not isinstance(value, dict) else {**value, "": None}
    name = rng.choice(required)
    if rng.random() < 0.5:
        return {key: one for key, one in value.items() if key != name}
    return {**value, name: [value[name], None]}


class _Filler:
    def __init__(self, root: Mapping[str, Any], text: str, answer: str | None) -> None:
        self.root, self.text, self.answer = root, text[:20_000], answer
        self.numbers = _NUMBER.findall(self.text)
        self.names = _NAME.findall(self.text)

    def value(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return None
        if "$ref" in schema:
            return self.value(self._referred(str(schema["$ref"])), name, depth + 1)
        for several in ("anyOf", "oneOf", "allOf"):
            if schema.get(several):
                merged = {key: one for key, one in schema.items() if key != several}
                for part in schema[several] if several == "allOf" else schema[several][:1]:
                    merged.update(part)
                return self.value(merged, name, depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._of(schema["enum"])
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
        match kind:
            case "object":
                wanted = {**schema.get("properties", {})}
                return {key: self.value(inner, key, depth + 1) for key, inner in wanted.items()}
            case "array":
                count = max(int(schema.get("minItems", 1)), 0)
                return [self.value(schema.get("items", {}), name, depth + 1) for _ in range(min(count, 50))]
            case "boolean":
                return not re.search(rf"\b(no|not|never) {re.escape(name)}", self.text, re.IGNORECASE)
            case "integer" | "number":
                return self._number(schema, name, whole=kind == "integer")
            case "null":
                return None
        return self._string(schema, name)

    def _referred(self, path: str) -> Any:
        found: Any = self.root
        for part in path.removeprefix("#").strip("/").split("/"):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        return found

    def _of(self, options: list[Any]) -> Any:
        said = self.text.casefold()
        return next((one for one in options if isinstance(one, str) and one.casefold() in said), options[0])

    def _named(self, name: str) -> str | None:
        """What stands in the text after the name of a property."""
        if not name:
            return None
        words = re.escape(name).replace("_", "[ _-]?")
        found = re.search(
            rf"\b{words}\b\W{{0,3}}(?:is |of |= ?|: ?)?\W{{0,2}}((?:[^\n,;.]|\.(?=\w)){{1,80}})",
            self.text,
            re.IGNORECASE,
        )
        return found[1].strip(" \"'`}]") if found else None

    def _number(self, schema: Mapping[str, Any], name: str, *, whole: bool) -> float | int:
        answered = self.answer if name in {"answer", "result", "value", "solution"} else None
        found = _NUMBER.search(answered or self._named(name) or "")
        text = found[0] if found else self.numbers.pop(0) if self.numbers else "1"
        value = float(text)
        low = schema.get("minimum", schema.get("exclusiveMinimum", value - 1) + 1)
        high = schema.get("maximum", schema.get("exclusiveMaximum", value + 1) - 1)
        value = min(max(value, low), high)
        return int(value) if whole or value == int(value) else value

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", 2_000))
        form = str(schema.get("format", ""))
        if name in {"answer", "result", "response", "solution", "text"} and self.answer is not None:
            found = self.answer
        elif form == "email" or "mail" in name.lower():
            found = next(iter(_MAIL.findall(self.text)), _FORMATS["email"])
        elif form == "date" or name.lower() == "date":
            found = next(iter(_DATE.findall(self.text)), _FORMATS["date"])
        elif form in _FORMATS:
            found = _FORMATS[form]
        elif (named := self._named(name)) is not None:
            found = named
        elif self.names:
            found = self.names.pop(0)
        elif quoted := _QUOTED.search(self.text):
            found = quoted[1]
        else:
            found = name or "something"
        return found[:most].ljust(min(least, 2_000), ".")
