"""Members of a composite model in their native formats, each in a folder of its own.

Every member is an MLflow flavour folder (`mlflow.catboost.load_model(folder)` reads it) plus `native.json`, which says
how to read it without MLflow: that is how serving loads. Nothing is ever unpickled. The same fitted object gives the
same bytes.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal, get_args

from store.errors import IntegrityFailed, InvalidValue
from store.registry.connection import mlflow

Flavour = Literal["catboost", "lightgbm", "xgboost", "sklearn", "prophet"]

# What skops does not know by itself and scikit-learn's own estimators consist of. Classes only, each read before it
# was put here: none runs anything but its own arithmetic when it is rebuilt.
TRUSTED_TYPES = frozenset(
    {
        "numpy.dtype",
        "scipy.interpolate._bsplines.BSpline",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.tree._tree.Tree",
    }
)
_FILES = {
    "catboost": "model.cb",
    "lightgbm": "model.lgb",
    "xgboost": "model.ubj",
    "sklearn": "model.skops",
    "prophet": "model.pr",
}
_CLASSES = {
    "catboost": ("CatBoost", "CatBoostClassifier", "CatBoostRegressor"),
    "lightgbm": ("Booster",),
    "xgboost": ("Booster", "XGBClassifier", "XGBRegressor"),
    "prophet": ("Prophet",),
}
_NOTE = "native.json"


def save_native(model: Any, flavour: Flavour, folder: Path | str) -> None:
    """Write one fitted model into a new or empty folder.

    A scikit-learn style LightGBM model is reduced to its booster, whose text format holds no Python objects.

    Raises
    ------
    InvalidValue : an unknown flavour, a class the flavour does not cover, a folder that holds something, or a
        scikit-learn model with a part outside `TRUSTED_TYPES`.
    """
    if flavour not in get_args(Flavour):
        raise InvalidValue(
            f"{flavour!r} is not a flavour.",
            remedy=f"Use one of {', '.join(get_args(Flavour))}.",
            field="flavour",
            value=flavour,
        )
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise InvalidValue(f"The folder {folder} is not empty.", remedy="Name a new one.", value=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    if flavour == "lightgbm":
        model = getattr(model, "booster_", model)
    name = type(model).__name__
    if flavour in _CLASSES and name not in _CLASSES[flavour]:
        raise InvalidValue(
            f"A {type(model).__module__}.{name} cannot be saved as {flavour}.",
            remedy=f"Give one of {', '.join(_CLASSES[flavour])}.",
            field="model",
            value=name,
        )
    _save(model, flavour, folder)
    _write_note(folder, flavour, name)


def _save(model: Any, flavour: Flavour, folder: Path) -> None:
    import importlib

    mlflow()
    from mlflow.models import Model

    # MLflow's own id and time stamp would make two folders of one model differ.
    described = Model(model_uuid="0" * 32, utc_time_created="1970-01-01 00:00:00.000000")
    library = importlib.import_module(f"mlflow.{flavour}")
    options: dict[str, Any] = {}
    if flavour == "sklearn":
        options = {"serialization_format": "skops", "skops_trusted_types": _trusted(model)}
    elif flavour == "xgboost":
        options = {"model_format": "ubj"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Stated requirements: inferring them loads the model in another process and takes seconds.
        library.save_model(
            model,
            str(folder),
            mlflow_model=described,
            pip_requirements=library.get_default_pip_requirements(),
            **options,
        )
    if flavour == "sklearn":
        _renumber(folder / _FILES["sklearn"])


def _trusted(model: Any) -> list[str]:
    import skops.io

    return _allowed(skops.io.get_untrusted_types(data=skops.io.dumps(model)), InvalidValue)


def _allowed(found: list[str], refuse: type[InvalidValue | IntegrityFailed]) -> list[str]:
    strange = sorted(set(found) - TRUSTED_TYPES)
    if strange:
        raise refuse(
            f"The scikit-learn model holds types that are not on the allow-list: {', '.join(strange)}.",
            remedy="Use scikit-learn's own estimators, or save the part's numbers in Parquet or JSON instead.",
            field="model",
            value=strange,
        )
    return sorted(found)


def _renumber(path: Path) -> None:
    """Replace memory addresses and time stamps in a skops file by running numbers and a fixed date."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop("schema.json"))
    numbers: dict[str, str] = {}
    schema = _numbered(schema, numbers)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry("schema.json"), json.dumps(schema, indent=2))
        for name, data in sorted((_renamed(name, numbers), data) for name, data in members.items()):
            archive.writestr(_entry(name), data)


def _numbered(node: Any, numbers: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_numbered(item, numbers) for item in node]
    if not isinstance(node, dict):
        return node
    made: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__" and isinstance(value, int):
            made[key] = int(numbers.setdefault(str(value), str(len(numbers) + 1)))
        elif key == "file" and isinstance(value, str):
            made[key] = _renamed(value, numbers)
        else:
            made[key] = _numbered(value, numbers)
    return made


def _renamed(name: str, numbers: dict[str, str]) -> str:
    stem, dot, ending = name.partition(".")
    return numbers.setdefault(stem, str(len(numbers) + 1)) + dot + ending


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _write_note(folder: Path, flavour: str, name: str) -> None:
    note = {"flavour": flavour, "class": name, "file": _FILES[flavour]}
    (folder / _NOTE).write_text(json.dumps(note, indent=2) + "\n")


def load_native(folder: Path | str) -> Any:
    """Read what `save_native` wrote, importing only the library of its flavour.

    Raises
    ------
    IntegrityFailed : the folder is none of ours, or names a class or type outside the allow-list.
    """
    folder = Path(folder)
    try:
        note = json.loads((folder / _NOTE).read_text())
        flavour, name = note["flavour"], note["class"]
        path = folder / _FILES[flavour]
        known = flavour not in _CLASSES or name in _CLASSES[flavour]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityFailed(
            f"{folder} holds no model written by Meritorder ({error}).",
            remedy="Register the model again.",
            value=str(folder),
        ) from error
    if not known:
        raise IntegrityFailed(
            f"{folder} names the {flavour} class {name!r}, which is not on the allow-list.",
            remedy="Do not use it; register the model again.",
            field="class",
            value=name,
        )
    return _load(flavour, name, path)


def _load(flavour: str, name: str, path: Path) -> Any:
    if flavour == "catboost":
        import catboost

        model = getattr(catboost, name)()
        model.load_model(str(path))
        return model
    if flavour == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=str(path))
    if flavour == "xgboost":
        import xgboost

        model = getattr(xgboost, name)()
        model.load_model(str(path))
        return model
    if flavour == "prophet":
        from prophet.serialize import model_from_json

        return model_from_json(json.loads(path.read_text()))
    import skops.io

    trusted = _allowed(skops.io.get_untrusted_types(file=path), IntegrityFailed)
    return skops.io.load(path, trusted=trusted)
