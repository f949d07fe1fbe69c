"""Rows to learn from and rows to be judged on: by time, by group, or by prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.parsing import as_times
from models.lifecycle.family import Split
from models.routing.material import row_numbers
from models.routing.options import RoutingOptions
from models.routing.outcomes import outcomes
from store.errors import InvalidValue

FEWEST = 20
# Beyond these shares a split by a hash of few groups is no split; groups are then taken by size.
_LEAST_SHARE, _MOST_SHARE = 0.08, 0.45
# A call shows one model's answer, and a judgement is noise for the most part: it takes more of them to tell.
_CALLS_SHARE = 0.35

Rows = NDArray[np.bool_]


def split(frame: pd.DataFrame, roles: Mapping[str, str], options: RoutingOptions) -> Split:
    """Divide the rows. By time where there is one, of calls only those that were drawn by chance and judged; else whole
    groups by a hash of their name; else prompts by a hash of what they say, so that copies stay together.

    Raises
    ------
    InvalidValue : unreadable times, or too few rows on one side.
    """
    if "model" in roles:
        return _checked(frame, *_calls(frame, roles, options))
    if "time" in roles:
        return _checked(frame, *_by_time(frame, roles, options))
    if "group" in roles:
        return _checked(frame, *_by_group(frame, roles["group"], options))
    numbers = row_numbers(outcomes(frame, roles))
    mixed = (numbers ^ np.uint64(options.seed * 0x9E3779B97F4A7C15 % 2**64)) * np.uint64(0xD6E8FEB86659FD93)
    holdout = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53 < options.holdout_share
    rule = (
        f"{holdout.mean():.0%} of the rows are the holdout, drawn by a hash of the prompt (seed {options.seed}): "
        "copies of a prompt are on one side, and a prompt keeps its side when the table grows"
    )
    return _checked(frame, ~holdout, holdout, rule)


def _by_time(frame: pd.DataFrame, roles: Mapping[str, str], options: RoutingOptions) -> tuple[Rows, Rows, str]:
    column = roles["time"]
    moments = as_times(frame[column])
    if moments.isna().any():
        where = int(np.flatnonzero(moments.isna().to_numpy())[0])
        raise InvalidValue(
            f"{column} is no date in {int(moments.isna().sum())} of {len(frame)} rows, first "
            f"{frame[column].iloc[where]!r}.",
            remedy="Write dates as 2026-03-01, or leave --time out.",
            field=column,
        )
    # A group is as late as its latest row.
    if "group" in roles:
        moments = moments.groupby(frame[roles["group"]]).transform("max")
    cut = _cut(moments, options.holdout_share)
    holdout = (moments >= cut).to_numpy()
    whole = f" (of each {roles['group']}, by its latest row)" if "group" in roles else ""
    rule = f"rows with {column} from {cut:%Y-%m-%d %H:%M} on{whole} are the holdout, {holdout.mean():.0%} of the rows"
    return ~holdout, holdout, rule


def _by_group(frame: pd.DataFrame, column: str, options: RoutingOptions) -> tuple[Rows, Rows, str]:
    names = frame[column].astype(str)
    drawn = {name: _drawn(name, options.seed) for name in names.unique()}
    if len(drawn) < 2:
        raise InvalidValue(
            f"All rows have the same {column}, {names.iloc[0]!r}: no group could be held out.",
            remedy="Leave --group out; rows are then divided by their prompts.",
            field=column,
        )
    at = names.map(drawn).to_numpy(np.float64)
    holdout = at < options.holdout_share
    rule = f"drawn by a hash of {column} (seed {options.seed})"
    if not _LEAST_SHARE <= holdout.mean() <= _MOST_SHARE:
        # Few groups, of very different sizes: in the order of the hash, those that come nearest to the share.
        sizes = names.value_counts()
        chosen: list[str] = []
        rows = 0
        for name in sorted(drawn, key=lambda one: drawn[one]):
            if rows + sizes[name] <= max(options.holdout_share * 1.25 * len(frame), float(sizes.min())):
                chosen.append(name)
                rows += int(sizes[name])
        holdout = names.isin(chosen).to_numpy()
        rule = f"taken in the order of a hash of {column} (seed {options.seed}) as far as they fit the share"
    held = frame.loc[holdout, column].nunique()
    text = (
        f"all rows of {held} of {len(drawn)} {column} are the holdout, {holdout.mean():.0%} of the rows, {rule}: what "
        "is judged is of groups that were never learned from"
    )
    return ~holdout, holdout, text


def _calls(frame: pd.DataFrame, roles: Mapping[str, str], options: RoutingOptions) -> tuple[Rows, Rows, str]:
    moments = frame[roles["time"]]
    judged = frame["score"].notna()
    drawn = judged & (frame["propensity"] < 1.0)
    if int(drawn.sum()) < FEWEST:
        raise InvalidValue(
            f"{int(drawn.sum())} calls were drawn by chance and have a score; nothing can be judged by so few.",
            remedy="Let the gateway explore for a while, and report feedback (`POST /v1/llm/feedback`).",
            field="propensity",
        )
    cut = _cut(moments[drawn], max(options.holdout_share, _CALLS_SHARE))
    later = (moments >= cut).to_numpy()
    holdout = later & drawn.to_numpy()
    rule = (
        f"calls from {cut:%Y-%m-%d %H:%M} on are the holdout: of them the {int(holdout.sum())} that were drawn by "
        f"chance (propensity below 1) and have a score; all {int((~later).sum())} earlier ones are learned from"
    )
    return ~later, holdout, rule


def _cut(moments: pd.Series, share: float) -> pd.Timestamp:
    ordered = moments.sort_values().reset_index(drop=True)
    cut = pd.Timestamp(ordered.iloc[min(len(ordered) - 1, int((1.0 - share) * len(ordered)))])
    if cut <= ordered.iloc[0] and ordered.nunique() > 1:
        cut = pd.Timestamp(np.sort(ordered.unique())[1])
    return cut


def _drawn(name: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2.0**64


def _checked(frame: pd.DataFrame, train: Rows, holdout: Rows, rule: str) -> Split:
    for title, rows in (("learned from", train), ("judged on", holdout)):
        if int(rows.sum()) < FEWEST:
            raise InvalidValue(
                f"{int(rows.sum())} of {len(frame)} rows could be {title} ({rule}); at least {FEWEST} are needed.",
                remedy="Bring more rows.",
                field="rows",
                value=int(rows.sum()),
            )
    return Split(frame[train], frame[holdout], rule)
