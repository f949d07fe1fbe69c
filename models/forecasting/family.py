"""Forecasting as the lifecycle sees it.

A local model is a recipe: which members, which seasons, which rule. A champion is therefore judged by running its
recipe at the origin of the new holdout, never by the forecast that it made at an older one; with a cache folder,
members that the challenger has just fitted at that origin are not fitted twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from features.frequency import Grid, parse_frequency
from features.panel import Panel
from models.forecasting.combination import COMBINATION
from models.forecasting.engine import BASELINE, CLASSICAL, DAILY, SHORT_DAILY, YEARLY, covariate_members
from models.forecasting.explained import MOST, explain
from models.forecasting.judgement import judge
from models.forecasting.members import MEMBERS
from models.forecasting.model import ForecastModel, Runs
from models.forecasting.options import ForecastOptions
from models.forecasting.panel_members import PANEL_MEMBERS, check_members
from models.forecasting.panel_runs import (
    conclude_all,
    frozen_seasons,
    in_pieces,
    known_runs,
    model_of,
    panel_of,
    pieces_of,
    planned,
    rows_of,
    run_member_on_all,
    series_of,
    why_unsuited,
)
from models.forecasting.series import Series
from models.lifecycle.evaluation import Evaluation
from models.lifecycle.family import Candidate, Metric, Model, Split
from store.dataset import DatasetRef, SnapshotRef
from store.errors import EmptyData, TrainingError

__all__ = ["ForecastModel", "ForecastOptions", "ForecastingFamily"]

_LONG = 1_000  # observations: which members there may be, not which suit a series
_LEAST_TRAIN = 8  # observations a series keeps for training when it is judged


class ForecastingFamily:
    """Single members and their combination, against the seasonal naive forecast."""

    name = "forecasting"
    tables: tuple[str, ...] = ("customers", "subscriptions", "usage_daily", "tickets")
    primary = Metric("mase", "lower", "MASE")
    comparison: Literal["paired_bootstrap", "diebold_mariano"] = "diebold_mariano"
    purpose = "Says how each series will go on, step by step, and how far from that it may come with which chance."
    limits = (
        "Intervals come from the errors of the past: they are too narrow where the future is of another kind, such as "
        "after a launch or an outage.",
    )

    def __init__(self, options: ForecastOptions | None = None) -> None:
        self.options = options or ForecastOptions()
        check_members((*(self.options.members or ()), *self.options.also))

    def dataset(self, snapshot: SnapshotRef, folder: Path) -> DatasetRef:
        """The daily business series up to the snapshot's moment."""
        from features.snapshot import write_dataset
        from features.views.series import business_panel

        return write_dataset(
            business_panel(snapshot),
            folder,
            as_of=snapshot.as_of,
            roles={"entity": "unique_id", "time": "ds", "target": "y"},
            source=f"snapshot {snapshot.digest[:12]}",
        )

    def split(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> Split:
        """The last steps of every series long enough are the holdout; the others are trained on and not judged.

        Both parts are clean: sorted, without holes, under the column names of the input. Where columns are known in
        advance, the training part goes on for a horizon with rows that hold those columns and no target.

        Raises
        ------
        DataError : the frame is no panel. EmptyData : no series is long enough to be judged.
        """
        panel = panel_of(frame, roles, self.options)
        clean = panel.frame
        if self.options.exog:
            clean = rows_of(series_of(panel, self.options), self.options)
        length = clean.groupby("unique_id", sort=False)["y"].transform("count")
        steps = self.options.holdout or self.options.horizon
        steps = min(steps, max(1, (int(length.max()) - _LEAST_TRAIN) // 2))
        from_end = length - clean.groupby("unique_id", sort=False).cumcount()
        judgeable = length >= steps + _LEAST_TRAIN
        held = (from_end <= steps) & (from_end > 0) & judgeable
        known = ~held
        if self.options.exog:
            ahead = np.where(judgeable, steps, 0) - from_end.to_numpy()  # steps since the last one of the training part
            known = pd.Series(ahead < self.options.horizon, index=clean.index)
        if not held.any():
            raise EmptyData(
                f"No series has more than {_LEAST_TRAIN} values; the longest has {int(length.max())}.",
                remedy="Bring longer series, or forecast without judging (`merit forecast`).",
                field=roles.get("target", "y"),
            )
        names = {
            "unique_id": roles.get("entity", "unique_id"),
            "ds": roles.get("time", "ds"),
            "y": roles.get("target", "y"),
        }
        clean = clean.rename(columns=names)
        judged = clean.loc[held, names["unique_id"]].nunique()
        rule = (
            f"the last {steps} steps of each series are the holdout ({judged} of {len(panel.ids)} series long enough)"
        )
        train = clean[known].reset_index(drop=True)
        train.loc[held[known].to_numpy(), names["y"]] = np.nan  # of the holdout, only what was known in advance
        return Split(train, clean[held].reset_index(drop=True), rule)

    def candidates(self) -> Sequence[Candidate]:
        """The seasonal naive baseline, the members that suit the frequency, and their combination.

        The combination alone may be chosen: where several origins say so it is a single member for a series already.
        """
        of_panel = tuple(name for name, member in PANEL_MEMBERS.items() if member.usual)
        names = self.options.members or (*self._usual_members(), *of_panel)
        singles = tuple(dict.fromkeys(name for name in (*names, *self.options.also) if name != BASELINE))
        return (
            Candidate(BASELINE, baseline=True),
            *(Candidate(name, contender=False) for name in singles),
            Candidate(COMBINATION, needs=(BASELINE, *singles), partial=True),
        )

    def _usual_members(self) -> tuple[str, ...]:
        usual = self._members_of_grid()
        if not self.options.exog and self.options.holidays is None:
            return usual
        per_year = 365.25
        if self.options.freq is not None:
            kind, step = parse_frequency(self.options.freq)
            per_year = Grid(kind, step).per_year
        return tuple(dict.fromkeys((*usual, *covariate_members(per_year, _LONG))))

    def _members_of_grid(self) -> tuple[str, ...]:
        if self.options.freq is None:
            return (*CLASSICAL, "MSTL", "Prophet", "Boosting")
        kind, step = parse_frequency(self.options.freq)
        if kind == "business" or (kind == "fixed" and step == 86_400 * 10**9):
            return tuple(dict.fromkeys((*DAILY, *YEARLY, *SHORT_DAILY)))
        if kind == "fixed" and step < 86_400 * 10**9:
            return ("MSTL", "Boosting")
        if kind == "fixed":
            return (*CLASSICAL, "MSTL", "Prophet", "Boosting")
        return CLASSICAL

    def fit(
        self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str], fitted: Mapping[str, Model]
    ) -> ForecastModel:
        """Rolling origins within the training rows, and the forecast from their end.

        A member is run on the series that it can forecast; the others get the seasonal naive forecast. The combination
        takes the paths of its members from `fitted`, those that are there, and fits nothing; per series it uses those
        that suit it.

        Raises
        ------
        DataError : the rows are no panel. TrainingError : no such candidate, it suits none of the series, or the
            combination has no member.
        """
        series = series_of(panel_of(train, roles, self.options), self.options)
        if candidate.name == COMBINATION:
            runs: Runs = {}
            there = [one for one in (fitted.get(need) for need in candidate.needs) if isinstance(one, ForecastModel)]
            if not there:
                needed = ", ".join(candidate.needs)
                raise TrainingError(
                    f"The combination needs {needed}, none of which was fitted.", remedy="Fit its members first."
                )
            for model in there:
                runs = {**runs, **model.runs}
            runs = self._planned_only(series, runs)
        elif candidate.name in MEMBERS or candidate.name in PANEL_MEMBERS:
            found = run_member_on_all(candidate.name, series, self.options)
            if not found:
                # Rather than a copy of the seasonal naive forecast under another name.
                raise TrainingError(
                    f"{candidate.name} suits none of the {len(series)} series "
                    f"({why_unsuited(candidate.name, series, self.options)}).",
                    remedy="Leave it out, or bring longer series.",
                )
            runs = {candidate.name: found}
        else:
            raise TrainingError(f"There is no forecasting candidate {candidate.name!r}.", remedy="See `candidates()`.")
        return self._conclude(candidate.name, series, runs)

    def pieces(self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str]) -> int:
        """Into how many pieces the series fall for a candidate; 1 without a folder that keeps what a piece yields."""
        if self.options.cache is None or candidate.name not in MEMBERS:
            return 1
        return pieces_of(candidate.name, series_of(panel_of(train, roles, self.options), self.options))

    def prepare(self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str], piece: int) -> None:
        """Run a member on one piece of the series; `fit` finds it in the cache."""
        series = series_of(panel_of(train, roles, self.options), self.options)
        run_member_on_all(candidate.name, in_pieces(series)[piece], self.options)

    def _planned_only(self, series: Sequence[Series], runs: Runs) -> Runs:
        plans = {one.name: planned(one, self.options) for one in series}
        kept = {
            name: {key: paths for key, paths in by_series.items() if key in plans and name in plans[key]}
            for name, by_series in runs.items()
        }
        return {name: by_series for name, by_series in kept.items() if by_series}

    def _conclude(self, candidate: str, series: Sequence[Series], runs: Runs) -> ForecastModel:
        results, selection = conclude_all(series, runs, self.options, candidate=candidate)
        return model_of(series, results, self.options, candidate=candidate, selection=selection, runs=runs)

    def load(self, folder: Path) -> ForecastModel:
        """Read back a model.

        Raises
        ------
        IntegrityFailed : the folder holds no forecasting model of this format.
        """
        return ForecastModel.load(folder)

    def rerun(self, model: ForecastModel, train: pd.DataFrame, roles: Mapping[str, str]) -> ForecastModel:
        """The model's recipe at the end of `train`: same rule, same members, same seasons, same exogenous columns.

        Raises
        ------
        MissingColumn : `train` lacks an exogenous column of the recipe.
        """
        recipe = replace(
            self.options,
            exog=tuple(model.contract.get("exog", ())),
            holidays=model.contract.get("holidays"),
            hierarchy=model.contract.get("hierarchy"),
        )
        if recipe != self.options:
            return ForecastingFamily(recipe).rerun(model, train, roles)
        panel = panel_of(train, roles, self.options)
        series = series_of(panel, self.options, frozen_seasons(model))
        if model.candidate == COMBINATION:
            wanted = dict.fromkeys(name for one in series for name in planned(one, self.options))
            of_panel = model.contract.get("panel_members", ())  # another release may have others
            names = [*(name for name in MEMBERS if name in wanted), *of_panel]
        else:
            names = [model.candidate]
        runs = {name: run_member_on_all(name, series, self.options) for name in names}
        return self._conclude(model.candidate, series, runs)

    def evaluate(
        self, model: Model, holdout: pd.DataFrame, train: pd.DataFrame, roles: Mapping[str, str]
    ) -> Evaluation:
        """Scaled errors per series and step, metrics with intervals over series, slices, latency, plots.

        A model whose origin is not the end of `train` is judged by its recipe, run there.

        Raises
        ------
        DataError : the rows are no panel.
        """
        assert isinstance(model, ForecastModel)
        known = panel_of(train, roles, self.options)
        at_origin = model if self._starts_after(model, known) else self.rerun(model, train, roles)
        coming = panel_of(holdout, roles, replace(self.options, freq=self.options.freq or known.grid.alias))
        seasons = {one.name: one.season for one in series_of(known, self.options)}
        return judge(at_origin, known, coming, seasons, candidate=model.candidate)

    def _starts_after(self, model: ForecastModel, known: Panel) -> bool:
        if model.horizon < (self.options.holdout or self.options.horizon):
            return False
        series = {one.name: one for one in series_of(known, self.options)}
        if set(series) - set(model.ids):
            return False
        info = model.contract["series"]
        return all(
            info[name]["length"] == len(one) and info[name]["last"] == int(one.stamps(len(one) - 1, len(one))[0])
            for name, one in series.items()
        )

    def finalise(
        self,
        model: Model,
        frame: pd.DataFrame,
        roles: Mapping[str, str],
        champion: Model | None = None,  # noqa: ARG002 - a forecaster takes nothing over from the last one
    ) -> ForecastModel:
        """The recipe at the end of all data. The rolling origins already computed, and the forecast that was judged,
        become its rolling origins, so that each member is fitted once more only.

        Raises
        ------
        InvalidValue : an exogenous column is not known for the steps after the end of the data.
        """
        assert isinstance(model, ForecastModel)
        panel = panel_of(frame, roles, self.options)
        series = series_of(panel, self.options, frozen_seasons(model))
        known = known_runs(model)
        runs: Runs = {name: run_member_on_all(name, series, self.options, known) for name in model.runs}
        if model.candidate == COMBINATION:
            runs = self._planned_only(series, runs)
        final = self._conclude(model.candidate, series, runs)
        explained = explain(series, self.options.threads) if len(series) <= MOST else None
        return replace(final, selection=model.selection, runs={}, explained=explained)

    def online(self, snapshot: SnapshotRef) -> pd.DataFrame | None:  # noqa: ARG002 - nothing is read
        """Nothing: the registered model holds the forecasts themselves."""
        return None
