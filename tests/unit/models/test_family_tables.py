"""The tables that a family asks for are those that its view reads: a table left out would be taken for an empty one."""

from __future__ import annotations

from features.views.churn_features import TABLES as CHURN_TABLES
from features.views.series import TABLES as SERIES_TABLES
from models.churn.family import ChurnFamily
from models.forecasting.family import ForecastingFamily


def test_churn_asks_for_every_table_of_its_view() -> None:
    assert set(ChurnFamily.tables) == set(CHURN_TABLES)


def test_forecasting_asks_for_every_table_of_its_view() -> None:
    assert set(ForecastingFamily.tables) == set(SERIES_TABLES)
