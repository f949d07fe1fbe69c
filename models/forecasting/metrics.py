"""Measures of forecasts, each over a long frame with column names as parameters.

Every function takes one row per series and step and returns one value per series, indexed by the id. Definitions follow
Hyndman and Koehler 2006 (MASE), Makridakis et al. 2022 (RMSSE) and Gneiting and Raftery 2007 (quantile scores).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from models.forecasting.options import level_name
from models.forecasting.series import Floats, naive_scale


def naive_scales(
    train: pd.DataFrame, season: int, *, id_col: str = "unique_id", time_col: str = "ds", target_col: str = "y"
) -> pd.Series:
    """Mean absolute seasonal naive error in the training rows, per series; see `naive_scale` for the fall-backs."""
    ordered = train.sort_values([id_col, time_col], kind="stable")
    return ordered.groupby(id_col, sort=False)[target_col].apply(lambda y: naive_scale(y.to_numpy(np.float64), season))


def mae(frame: pd.DataFrame, model_col: str, *, id_col: str = "unique_id", target_col: str = "y") -> pd.Series:
    """Mean absolute error."""
    return (frame[target_col] - frame[model_col]).abs().groupby(frame[id_col], sort=False).mean()


def mase(
    frame: pd.DataFrame, model_col: str, scales: pd.Series, *, id_col: str = "unique_id", target_col: str = "y"
) -> pd.Series:
    """Mean absolute scaled error: `mae` over the series' scale. NaN where the scale is 0."""
    errors = mae(frame, model_col, id_col=id_col, target_col=target_col)
    return errors / scales.reindex(errors.index).replace(0.0, np.nan)


def rmsse(
    frame: pd.DataFrame,
    model_col: str,
    train: pd.DataFrame,
    season: int,
    *,
    id_col: str = "unique_id",
    time_col: str = "ds",
    target_col: str = "y",
) -> pd.Series:
    """Root mean squared scaled error: the squared analogue of `mase`."""
    squared = ((frame[target_col] - frame[model_col]) ** 2).groupby(frame[id_col], sort=False).mean()
    ordered = train.sort_values([id_col, time_col], kind="stable")
    scale = ordered.groupby(id_col, sort=False)[target_col].apply(
        lambda y: float(np.mean((y.to_numpy(np.float64)[season:] - y.to_numpy(np.float64)[:-season]) ** 2))
    )
    return (squared / scale.reindex(squared.index).replace(0.0, np.nan)) ** 0.5


def smape(frame: pd.DataFrame, model_col: str, *, id_col: str = "unique_id", target_col: str = "y") -> pd.Series:
    """Symmetric mean absolute percentage error in [0, 1]: mean of |y − ŷ| / (|y| + |ŷ|); 0 where both are 0."""
    size = frame[target_col].abs() + frame[model_col].abs()
    share = ((frame[target_col] - frame[model_col]).abs() / size.replace(0.0, np.nan)).fillna(0.0)
    return share.groupby(frame[id_col], sort=False).mean()


def coverage(
    frame: pd.DataFrame, level: float, *, id_col: str = "unique_id", target_col: str = "y", prefix: str = ""
) -> pd.Series:
    """Share of values inside the interval `<prefix>lo-<level>` to `<prefix>hi-<level>`, ends included."""
    name = level_name(level)
    inside = (frame[target_col] >= frame[f"{prefix}lo-{name}"]) & (frame[target_col] <= frame[f"{prefix}hi-{name}"])
    return inside.astype(float).groupby(frame[id_col], sort=False).mean()


def pinball(
    frame: pd.DataFrame, quantile_col: str, q: float, *, id_col: str = "unique_id", target_col: str = "y"
) -> pd.Series:
    """Mean quantile loss of the forecast of quantile `q` in (0, 1)."""
    rest = frame[target_col] - frame[quantile_col]
    return (rest * q).where(rest >= 0, rest * (q - 1)).groupby(frame[id_col], sort=False).mean()


def scaled_crps(
    frame: pd.DataFrame,
    quantile_cols: Sequence[str],
    quantiles: Sequence[float],
    *,
    id_col: str = "unique_id",
    target_col: str = "y",
) -> pd.Series:
    """Continuous ranked probability score over the mean absolute value: 2 × mean quantile loss / mean |y|."""
    total = sum(
        pinball(frame, name, q, id_col=id_col, target_col=target_col)
        for name, q in zip(quantile_cols, quantiles, strict=True)
    )
    size = frame[target_col].abs().groupby(frame[id_col], sort=False).mean()
    return 2.0 * total / len(quantiles) / size.replace(0.0, np.nan)


def quantile_losses(y: Floats, path: Floats, half_widths: Floats, levels: Sequence[float]) -> Floats:
    """CRPS per row from symmetric intervals: 2 × mean quantile loss over the median and both ends of each level.

    Parameters
    ----------
    y, path : shape (n,).
    half_widths : shape (len(levels), n).

    Returns
    -------
    shape (n,), in the unit of `y`.
    """
    total = np.abs(y - path) / 2.0
    for level, half in zip(levels, half_widths, strict=True):
        for sign, q in ((-1.0, 0.5 - level / 200.0), (1.0, 0.5 + level / 200.0)):
            rest = y - (path + sign * half)
            total = total + np.maximum(q * rest, (q - 1) * rest)
    return np.asarray(2.0 * total / (1 + 2 * len(levels)))
