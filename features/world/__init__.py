"""The demo world: a seeded simulator of a subscription energy-software business whose truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from features.world.builder import WorldRef, build

__all__ = ["WorldRef", "build"]


def __getattr__(name: str) -> Any:
    # Only when asked for: the simulated models live here too, and a server of theirs needs no data frames.
    if name in __all__:
        from features.world import builder

        return getattr(builder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
