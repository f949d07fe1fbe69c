"""Promises about the repository as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import store.errors as errors

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("store", "features", "models", "flows", "serving", "cli")


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_the_mlflow_folder_does_not_hide_the_library() -> None:
    assert not list((ROOT / "mlflow").rglob("*.py"))
    code = "import mlflow; print(mlflow.__version__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.startswith("3.")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_and_stays_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.lstrip().startswith(('"""', 'r"""')), "the first line says what the module is"
    assert text.count("\n") <= 400, "look for the second idea in it"


def test_every_error_stands_in_the_drawn_tree() -> None:
    drawn = errors.__doc__ or ""
    kinds = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.MeritError)
    ]
    assert len(kinds) > 15
    for kind in kinds:
        assert kind.__name__ in drawn, f"{kind.__name__} is not in the tree at the top of store/errors.py"


def test_errors_survive_a_process_border() -> None:
    import pickle

    sent = errors.MissingColumn("Column 'a' is missing.", remedy="Name another.", field="a", value=3)
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is errors.MissingColumn
    assert (str(received), received.field, received.value) == ("Column 'a' is missing. Name another.", "a", 3)


def test_help_does_not_load_what_it_does_not_need() -> None:
    code = (
        "import sys\nimport cli.main\n"
        "heavy = {'prefect', 'mlflow', 'great_expectations', 'statsforecast', 'prophet', 'catboost', 'lightgbm', "
        "'xgboost', 'matplotlib', 'sklearn'}\n"
        "print(','.join(sorted(heavy & set(sys.modules))))"
    )
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == ""
