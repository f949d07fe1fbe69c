"""All families on public data beside the figures of others, with 95 % intervals and seconds.

    python -m benchmarks.scoreboard [--only churn forecasting …] [--quick] [--keep FOLDER] [--threads 2]

With `--keep`, a section that was finished is read from there, so that an interrupted run goes on where it was (and
forecasts of single series are kept as well). `--quick` takes a sample of every set: it shows that everything runs, its
figures are not comparable.

Another benchmark becomes a section by defining `lines(asked: Asked) -> Iterator[Line]`.

An interval is over what was drawn: customers, series, parameters. "level" says that the other's figure lies inside it;
the others' figures have no intervals, and on small sets their folds are not known.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

REPLICATES = 1000


@dataclass(frozen=True)
class Line:
    """One figure.

    Attributes
    ----------
    better : "lower", "higher", or "equal" where a published number is to be met.
    low, high : 95 % interval; None where there is none.
    others : who → figure.
    """

    family: str
    data: str
    measure: str
    better: str
    value: float
    low: float | None = None
    high: float | None = None
    others: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def best(self) -> tuple[str, float] | None:
        """The other figure that is hardest to meet."""
        if not self.others:
            return None
        sign = {"lower": 1.0, "higher": -1.0}.get(self.better)
        return min(self.others.items(), key=lambda one: sign * one[1] if sign else abs(one[1] - self.value))

    @property
    def verdict(self) -> str:
        if self.best is None:
            return ""
        other = self.best[1]
        if self.low is None or self.high is None:
            low = high = self.value
        else:
            low, high = self.low, self.high
        if self.better == "equal":
            return "met" if low <= other <= high or abs(self.value / other - 1) < 0.001 else "missed"
        ahead, behind = (high < other, low > other) if self.better == "lower" else (low > other, high < other)
        return "better" if ahead else "behind" if behind else "level"


@dataclass(frozen=True)
class Asked:
    """How thorough to be."""

    quick: bool
    threads: int
    keep: Path | None


def churn(asked: Asked) -> Iterator[Line]:
    """The blend, five folds, against figures measured elsewhere and CatBoost at its defaults on the same folds."""
    from benchmarks.churn_accuracy import BEFORE, DATA, REFERENCE, load, measure
    from models.churn.metrics import Offer, estimates

    offer = Offer(20.0, 120.0, 0.4)
    columns = {"auc": "higher", "average_precision": "higher", "log_loss": "lower", "ece": "lower"}
    for title, name in DATA.items():
        frame, y = load(name)
        if asked.quick:
            chosen = np.random.default_rng(7).choice(len(y), 1500, replace=False)
            frame, y = frame.iloc[chosen].reset_index(drop=True), y[chosen]
        start = time.perf_counter()
        rows = measure(frame, y, 7, asked.threads)
        took = time.perf_counter() - start
        found = {who: estimates(y, rows[who]["p"], offer.threshold(), offer, replicates=REPLICATES, seed=7)
                 for who in ("blend", REFERENCE)}  # fmt: skip
        for place, (metric, better) in enumerate(columns.items()):
            others = {who: figures[place] for who, figures in BEFORE[title].items() if figures[place] is not None}
            others[REFERENCE] = found[REFERENCE][metric].value
            mine = found["blend"][metric]
            yield Line("churn", title, metric, better, mine.value, mine.low, mine.high, others, took)


def forecasting(asked: Asked) -> Iterator[Line]:
    """MASE of the combination on five competition sets, and how often the intervals held."""
    from benchmarks.forecasting_accuracy import OTHERS, SETS, cases, score
    from models.forecasting.parallel import map_series

    cache = asked.keep / "forecasts" if asked.keep else None
    if cache:
        cache.mkdir(parents=True, exist_ok=True)
    for place, dataset in enumerate(SETS):
        start = time.perf_counter()
        todo = list(cases(dataset, 12 if asked.quick else None))
        scores = pd.DataFrame(map_series(partial(score, cache=cache), todo, asked.threads))
        took = time.perf_counter() - start
        others = {who: figures[place] for who, figures in OTHERS.items()}
        yield Line("forecasting", dataset, "MASE", "lower", *mean_of(scores["mase"]), others, took)
        for level in (80, 95):
            wanted = {"nominal": level / 100}
            yield Line(
                "forecasting", dataset, f"coverage {level}", "equal", *mean_of(scores[f"in{level}"]), wanted, took
            )


def pricing(asked: Asked) -> Iterator[Line]:  # noqa: ARG001 - it takes a second
    """Logit demand of Nevo's cereals with his instruments, and the choice among brands of yogurt."""
    from benchmarks.pricing_elasticities import PUBLISHED, cereals, choice_of

    start = time.perf_counter()
    alpha, error, elasticity = cereals()["20 instruments, effects of brands"]
    took = time.perf_counter() - start
    low, high = alpha - 1.96 * error, alpha + 1.96 * error
    data = "Nevo's cereals"
    yield Line(
        "pricing", data, "α (price)", "equal", alpha, low, high, {"instruments, measured elsewhere": -30.0}, took
    )
    # The elasticity is the coefficient times what is known.
    ends = (elasticity * low / alpha, elasticity * high / alpha)
    others = {"random coefficients, measured elsewhere": -3.62}
    yield Line("pricing", data, "mean own elasticity", "equal", elasticity, *ends, others, took)
    start = time.perf_counter()
    choice = choice_of("Yogurt")
    assert choice.feature is not None
    took = time.perf_counter() - start
    for what, (value, error) in {"price": choice.level, "feat": choice.feature}.items():
        ends = (value - 1.96 * error, value + 1.96 * error)
        others = {"conditional logit, Helveston (2023)": PUBLISHED[what]}
        yield Line("pricing", "Yogurt of Ecdat", f"β ({what})", "equal", value, *ends, others, took)


def segmentation(asked: Asked) -> Iterator[Line]:  # noqa: ARG001 - it takes a second
    """Purchases and spend of CDNOW's customers: published parameters, and 39 weeks that were not learned from."""
    from benchmarks.segmentation_value import cdnow
    from models.segmentation.value.bgnbd import fit_bgnbd
    from models.segmentation.value.gamma_gamma import fit_gamma_gamma

    start = time.perf_counter()
    table = pd.read_csv(cdnow("cdnow_customers_summary_with_transactions.csv"))
    x, last, age = (table[name].to_numpy(np.float64) for name in ("x", "t_x", "T"))
    model = fit_bgnbd(x, last, age)
    published = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}
    took = time.perf_counter() - start
    for name, value in published.items():
        mine = model.parameters[name]
        others = {"Fader, Hardie & Lee (2005)": value}
        yield Line("segmentation", "CDNOW", name, "equal", mine.value, mine.low, mine.high, others, took)
    likelihood = {"Fader, Hardie & Lee (2005)": -9582.4}
    yield Line("segmentation", "CDNOW", "log-likelihood", "equal", model.log_likelihood, None, None, likelihood, took)
    spend = fit_gamma_gamma(x[x > 0], table["zbar"].to_numpy(np.float64)[x > 0])
    for name, value in {"p": 6.25, "q": 3.74, "gamma": 15.44}.items():
        mine = spend.parameters[name]
        others = {"Fader & Hardie (2013)": value}
        yield Line("segmentation", "CDNOW", name, "equal", mine.value, mine.low, mine.high, others, took)
    came = holdout_purchases()
    expected = model.expected_purchases(x, last, age, 39.0)
    took = time.perf_counter() - start
    error = pd.Series(np.abs(expected - came))
    yield Line(
        "segmentation", "CDNOW, weeks 40–78", "MAE of purchases", "lower", *mean_of(error), {"earlier": 0.817}, took
    )
    draws = np.random.default_rng(7).integers(0, len(came), (REPLICATES, len(came)))
    off = expected[draws].sum(axis=1) / came[draws].sum(axis=1) - 1
    total = float(expected.sum() / came.sum() - 1)
    low, high = (float(value) for value in np.quantile(off, [0.025, 0.975]))
    yield Line(
        "segmentation", "CDNOW, weeks 40–78", "error of the total", "equal", total, low, high, {"earlier": -0.15}, took
    )


def holdout_purchases() -> np.ndarray:
    """Purchases of CDNOW's sampled customers from 1997-10-01 on, in the order of their ids; several of one day count.

    The model counts days: with those, its errors are smaller (.785, −12 %), but no longer what was measured earlier.
    """
    from benchmarks.segmentation_value import cdnow

    columns = ["master", "id", "date", "number", "amount"]
    table = pd.read_csv(cdnow("CDNOW_sample.txt"), sep=r"\s+", header=None, names=columns)
    days = pd.to_datetime(table["date"].astype(str), format="%Y%m%d")
    counts = table[days > "1997-09-30"].groupby("id").size()
    return counts.reindex(np.sort(table["id"].unique()), fill_value=0).to_numpy(np.float64)


def sections() -> dict[str, Callable[[Asked], Iterator[Line]]]:
    """Name → section: those of this file, and every benchmark beside it that defines `lines`."""
    found: dict[str, Callable[[Asked], Iterator[Line]]] = {
        "churn": churn,
        "forecasting": forecasting,
        "pricing": pricing,
        "segmentation": segmentation,
    }
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if "\ndef lines(" in path.read_text(encoding="utf-8"):
            found[path.stem] = partial(_lines_of_module, path.stem)
    return found


def _lines_of_module(name: str, asked: Asked) -> Iterator[Line]:
    # Imported when it is asked for: some read their data at once.
    yield from import_module(f"benchmarks.{name}").lines(asked)


def mean_of(values: pd.Series[Any]) -> tuple[float, float, float]:
    """Mean with its percentile bootstrap interval."""
    rows = values.to_numpy(np.float64)
    draws = np.random.default_rng(7).integers(0, len(rows), (REPLICATES, len(rows)))
    low, high = np.quantile(rows[draws].mean(axis=1), [0.025, 0.975])
    return float(rows.mean()), float(low), float(high)


def lines_of(name: str, asked: Asked) -> list[Line]:
    """A section, from where it was kept or made now."""
    kept = asked.keep / f"{name}{'-quick' if asked.quick else ''}.json" if asked.keep else None
    if kept and kept.exists():
        return [Line(**row) for row in json.loads(kept.read_text())]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(sections()[name](asked))
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([asdict(line) for line in found], indent=1))
    return found


def row(line: Line) -> str:
    """A line as a row of the table."""
    interval = "" if line.low is None else f" [{line.low:.4g}, {line.high:.4g}]"
    best = f"{line.best[1]:.4g} ({line.best[0]})" if line.best else ""
    cells = (
        line.family,
        line.data,
        line.measure,
        f"{line.value:.4g}{interval}",
        best,
        line.verdict,
        f"{line.seconds:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(sections()), choices=list(sections()))
    parser.add_argument("--quick", action="store_true", help="a sample of every set; figures are not comparable")
    parser.add_argument("--keep", type=Path, help="folder of what is finished")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    asked = Asked(given.quick, given.threads, given.keep)
    if given.quick:
        print("A sample of every set: figures are not comparable.\n")
    print("| family | data | measure | Meritorder [95 %] | the best other | verdict | s |")
    print("|---|---|---|---|---|---|---|")
    for name in given.only:
        for line in lines_of(name, asked):
            print(row(line), flush=True)


if __name__ == "__main__":
    main()
