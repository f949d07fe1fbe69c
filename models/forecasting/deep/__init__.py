"""Forecasting with neural networks: everything that needs the extra `deep`, and nothing that is imported without it."""

from __future__ import annotations

from importlib.util import find_spec

REMEDY = "`make install-deep` and run from .venv-deep"


def missing(*packages: str) -> str:
    """Why a member cannot be used: the packages that are not installed; "" when all are. Imports none of them."""
    absent = [package for package in packages if find_spec(package) is None]
    return f"not installed ({', '.join(absent)}); {REMEDY}" if absent else ""
