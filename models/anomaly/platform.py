"""The platform's own business series: what was unusual in them, and detectors ready for what comes next."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pandas as pd

from features import snapshot as snapshots
from features.frequency import Grid
from features.holiday_calendar import check_country
from features.views.series import TABLES, business_panel
from models.anomaly.watch import Watched, WatchOptions, series_of_frame, watch
from models.forecasting.parallel import Progress
from store.dataset import SnapshotRef
from store.errors import DataError
from store.settings import Settings

_DAY = 86_400 * 10**9
_COUNTRIES = 10


def watch_platform(
    settings: Settings, options: WatchOptions, as_of: datetime | None = None, progress: Progress | None = None
) -> tuple[Watched, SnapshotRef]:
    """Scan the daily business series as known at `as_of`; at the end of the data when None.

    Where no holidays are named, those of the ten countries with most customers count.

    Raises
    ------
    EmptyData : there is no complete day of usage.
    """
    moment = snapshots.utc(as_of) if as_of else snapshots.end_of_data(settings)
    return watch_snapshot(snapshots.take(settings, TABLES, moment), options, progress)


def watch_snapshot(
    snapshot: SnapshotRef, options: WatchOptions, progress: Progress | None = None
) -> tuple[Watched, SnapshotRef]:
    """The same on a snapshot that was taken."""
    panel = business_panel(snapshot)
    if not options.holidays:
        options = replace(options, holidays=countries_of(snapshot))
    found = watch(series_of_frame(panel), Grid("fixed", _DAY), options, progress)
    return found, snapshot


def countries_of(snapshot: SnapshotRef) -> tuple[str, ...]:
    """The countries with most customers, up to ten, of those whose holidays are known."""
    customers = pd.read_parquet(snapshot.table("customers"), columns=["country"])
    counts = customers["country"].dropna().astype(str).value_counts()
    return tuple(sorted(code for code in counts.index[:_COUNTRIES] if _has_holidays(code)))


def _has_holidays(code: str) -> bool:
    try:
        check_country(code)
    except DataError:
        return False
    return True
