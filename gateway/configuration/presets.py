"""Kinds of provider, as data. Whatever speaks the format of one of them is of that kind, at an address of its own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of a kind of provider; `presets.toml` explains each field."""

    wire: str
    base_url: str
    key_env: str | None = None
    local: bool = False
    price_list: str | None = None
    offer: tuple[str, ...] = ()
    prefix: str = ""
    region: str | None = None
    loopback: bool = False
    latency_ms: float | None = None
    tokens_per_second: float | None = None


@cache
def presets() -> dict[str, Preset]:
    """Every kind by its name."""
    read = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: Preset(**{**entry, "offer": tuple(entry.get("offer", ()))}) for name, entry in read.items()}
