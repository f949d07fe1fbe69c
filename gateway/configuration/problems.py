"""Everything that is wrong with a configuration, all of it at once, and never a secret in it.

Somebody who writes a key where its name belongs finds out from the message, which does not repeat the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from store.errors import SettingsError

Section = TypeVar("Section", bound=BaseModel)

_LONGEST_VALUE = 80
# Their values are, or may by mistake be, secrets; so may be those of keys that there are not.
_NEVER_SHOWN = frozenset({"key_env", "headers", "base_url"})
_KEYS_THEMSELVES = frozenset({"key", "keys", "api_key", "apikey", "token", "secret", "password", "authorization"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    section : as it is written in the file: `providers.openai`, `models."openai/gpt-5"`.
    key : within it; "" for the section as a whole.
    """

    section: str
    key: str
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"[{self.section}] " if self.section else ""
        return f"{place}{self.key + ': ' if self.key else ''}{self.message} {self.remedy}"


class Problems:
    """Collects what is wrong while a configuration is read."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, section: str, key: str, message: str, remedy: str) -> None:
        self.found.append(Problem(section, key, message, remedy))

    def parsed(self, kind: type[Section], section: str, given: object) -> Section | None:
        """A section as its type; None where it is wrong, with each of its problems added."""
        if not isinstance(given, Mapping):
            self.add(section, "", f"{_shown(given)} is not a section.", f"Write [{section}] and its keys below.")
            return None
        try:
            return kind.model_validate(dict(given))
        except ValidationError as error:
            for one in error.errors(include_url=False, include_context=True):
                self.found.append(_problem(kind, section, one))
            return None

    @staticmethod
    def sound(kind: type[Section], given: object) -> Section | None:
        """What of a wrong section is right, to be looked at further; None where nothing can be told."""
        if not isinstance(given, Mapping):
            return None
        left = dict(given)
        # What is wrong may hide what else is: a second look at the rest.
        for _ in range(2):
            try:
                return kind.model_validate(left)
            except ValidationError as error:
                wrong = {one["loc"][0] for one in error.errors(include_url=False) if one["loc"]}
                left = {name: value for name, value in left.items() if name not in wrong}
        return None


def raise_for(problems: Sequence[Problem], source: str) -> None:
    """Do nothing where there is no problem.

    Raises
    ------
    SettingsError : lists all of them.
    """
    if not problems:
        return
    count = "an error" if len(problems) == 1 else f"{len(problems)} errors"
    lines = "\n".join(f"  {one}" for one in problems)
    first = problems[0]
    raise SettingsError(
        f"{source} has {count}:\n{lines}",
        remedy="docs/gateway-providers.md explains every key; `merit gateway check` looks again.",
        field=f"{first.section}.{first.key}".strip(".") or None,
    )


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """ "Did you mean …?", or which names there are."""
    known = sorted(names)
    close = get_close_matches(name, known, 1, 0.6)
    if close:
        return f"Did you mean {close[0]}?"
    listed = ", ".join(known[:40]) + (", …" if len(known) > 40 else "")
    return f"Use one of: {listed}." if known else "There is none."


def quoted(name: str) -> str:
    """A name as TOML writes it in a section's header."""
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else f'"{name}"'


def _problem(kind: type[BaseModel], section: str, error: Any) -> Problem:
    place = [str(part) for part in error["loc"]]
    key, last, top = ".".join(place), place[-1] if place else "", place[0] if place else ""
    if error["type"] == "extra_forbidden":
        if last.lower() in _KEYS_THEMSELVES:
            return Problem(
                section,
                key,
                "keys never stand in this file.",
                'Put the key into an environment variable and its name here: key_env = "NAME_OF_THE_VARIABLE".',
            )
        return Problem(section, key, "there is no such key.", did_you_mean(last, _keys_at(kind, place[:-1])))
    if error["type"] == "missing":
        return Problem(section, key, "is missing.", f"Add {last} = ….")
    if top == "key_env":
        return Problem(
            section,
            key,
            "is not the name of an environment variable (what is written is not shown).",
            "Write the name of the variable that holds the key, never the key itself.",
        )
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    shown = "" if top in _NEVER_SHOWN else f"{_shown(error['input'])}: "
    return Problem(section, key, f"{shown}{message}.", "Correct it, or leave it out.")


def _keys_at(kind: type[BaseModel], place: Sequence[str]) -> list[str]:
    """Keys of the section, or of the table inside it that a place leads to."""
    for part in place:
        if part.isdecimal():
            continue
        field = kind.model_fields.get(part)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is None:
            return []
        kind = inner
    return list(kind.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in getattr(annotation, "__args__", ()) if (found := _model_in(one)) is not None), None)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
