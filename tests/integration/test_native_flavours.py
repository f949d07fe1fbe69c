"""Members in their native formats: same answers after loading, same bytes when saved twice, nothing unpickled."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from store.errors import IntegrityFailed, InvalidValue
from store.registry import folder_sha256, load_native, save_native

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(120, 3)), columns=["a", "b", "c"])
KINDS = RNG.choice(["x", "y", "z"], 120)
Y = (X["a"] + X["b"] > 0).astype(int)


def catboost() -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False, thread_count=1).fit(X, Y)


def lightgbm() -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(X, Y)


def xgboost() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=5, n_jobs=1).fit(X, Y)


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(5, random_state=0).fit(X, Y)


def histogram() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=5).fit(X, Y)


def calibrated() -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression

    return CalibratedClassifierCV(LogisticRegression(), method="isotonic").fit(X, Y)


def pipeline() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, SplineTransformer, StandardScaler

    columns = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["a"]),
            ("s", SplineTransformer(3), ["b"]),
            ("k", KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), ["c"]),
            ("o", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2), ["k"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(X.assign(k=KINDS), Y)


MAKERS = [
    ("catboost", catboost),
    ("lightgbm", lightgbm),
    ("xgboost", xgboost),
    ("sklearn", forest),
    ("sklearn", histogram),
    ("sklearn", calibrated),
    ("sklearn", pipeline),
]


def answers(model: Any) -> Any:
    if type(model).__name__ == "Booster":
        return model.predict(X)
    rows = X.assign(k=KINDS) if type(model).__name__ == "Pipeline" else X
    return model.predict_proba(rows)[:, 1]


@pytest.mark.parametrize(("flavour", "make"), MAKERS, ids=[f"{flavour}-{make.__name__}" for flavour, make in MAKERS])
def test_there_and_back(tmp_path: Path, flavour: Any, make: Any) -> None:
    model = make()
    save_native(model, flavour, tmp_path / "one")
    loaded = load_native(tmp_path / "one")
    np.testing.assert_array_equal(answers(loaded), answers(model))
    save_native(model, flavour, tmp_path / "two")
    assert folder_sha256(tmp_path / "one") == folder_sha256(tmp_path / "two")


def test_mlflow_reads_a_member_as_its_own(tmp_path: Path) -> None:
    import mlflow.catboost

    model = catboost()
    save_native(model, "catboost", tmp_path / "one")
    np.testing.assert_array_equal(answers(mlflow.catboost.load_model(str(tmp_path / "one"))), answers(model))


def test_prophet(tmp_path: Path) -> None:
    import logging

    from prophet import Prophet

    logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
    rows = pd.DataFrame({"ds": pd.date_range("2025-01-01", periods=60), "y": np.arange(60.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Prophet(uncertainty_samples=0).fit(rows)
        save_native(model, "prophet", tmp_path / "one")
        save_native(model, "prophet", tmp_path / "two")
        loaded = load_native(tmp_path / "one")
        ahead = pd.DataFrame({"ds": pd.date_range("2025-03-02", periods=5)})
        np.testing.assert_allclose(loaded.predict(ahead)["yhat"], model.predict(ahead)["yhat"])
    assert folder_sha256(tmp_path / "one") == folder_sha256(tmp_path / "two")


def test_loading_imports_neither_mlflow_nor_plots(tmp_path: Path) -> None:
    for flavour, make in MAKERS[:4]:
        save_native(make(), flavour, tmp_path / flavour)  # type: ignore[arg-type]
    code = (
        "import json, sys, pathlib; from store.registry import load_native\n"
        "for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()): load_native(folder)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    shown = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert set(json.loads(shown.stdout)) & {"mlflow", "great_expectations", "prefect", "plotly", "shap"} == set()


class Ours:
    """No part of scikit-learn."""

    def __init__(self, n: int = 1) -> None:
        self.n = n

    def fit(self, _x: Any, _y: Any = None) -> Ours:
        return self

    def get_params(self, deep: bool = True) -> dict[str, int]:
        return {"n": self.n}


def test_what_is_not_on_the_list_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="Ours"):
        save_native(Ours(), "sklearn", tmp_path / "one")
    with pytest.raises(InvalidValue, match="torch"):
        save_native(forest(), "torch", tmp_path / "one")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="RandomForestClassifier cannot be saved as catboost"):
        save_native(forest(), "catboost", tmp_path / "one")
    save_native(forest(), "sklearn", tmp_path / "one")
    with pytest.raises(InvalidValue, match="not empty"):
        save_native(forest(), "sklearn", tmp_path / "one")


def test_a_planted_type_or_class_is_not_loaded(tmp_path: Path) -> None:
    import skops.io

    save_native(forest(), "sklearn", tmp_path / "one")
    skops.io.dump(Ours(), tmp_path / "one" / "model.skops")
    with pytest.raises(IntegrityFailed, match="Ours"):
        load_native(tmp_path / "one")
    save_native(xgboost(), "xgboost", tmp_path / "two")
    note = tmp_path / "two" / "native.json"
    note.write_text(note.read_text().replace("XGBClassifier", "DMatrix"))
    with pytest.raises(IntegrityFailed, match="DMatrix"):
        load_native(tmp_path / "two")
    for text in ("", "[]", "{}", '{"flavour": "pickle", "class": "x"}'):
        note.write_text(text)
        with pytest.raises(IntegrityFailed, match="no model written"):
            load_native(tmp_path / "two")
    with pytest.raises(IntegrityFailed):
        load_native(tmp_path / "none")
