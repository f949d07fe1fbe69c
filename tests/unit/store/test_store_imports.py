"""What importing the store costs: serving and `merit --help` import it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "mlflow",
    "matplotlib",
    "plotly",
    "prefect",
    "great_expectations",
    "fastapi",
    "sklearn",
    "scipy",
    "catboost",
    "lightgbm",
    "xgboost",
    "prophet",
    "skops",
    "alembic",
    "httpx",
}


@pytest.mark.parametrize("module", ["store.registry", "store.promotions", "store.predictions", "store.keys"])
def test_importing_the_store_imports_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys, json; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert HEAVY & set(json.loads(shown.stdout)) == set()
    assert shown.stderr == ""
