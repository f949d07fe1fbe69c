"""Methods that learn from many series at once, each behind one small interface.

A panel member is fitted once on the first observations of every series of a panel and then forecasts any of them from
any later origin with the parameters it has. Learning from the panel is part of the fit; what it forecasts for a series
depends on that series alone, never on which others are asked for along with it.

A model that needs what is not installed says so in `absent` and imports nothing before it is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.forecasting.deep import chronos, lstm
from models.forecasting.members import MEMBERS
from models.forecasting.series import Floats, Series
from store.errors import InvalidValue

Known = tuple[Series, int]  # a series and how many of its first observations may be looked at
PanelPath = Callable[[Sequence[Known], int], list[Floats]]  # (what is known, horizon) → a path of shape (horizon,) each
PanelFit = Callable[[Sequence[Known], int], PanelPath]  # (what to learn from, horizon) → PanelPath


@dataclass(frozen=True)
class PanelMember:
    """A forecasting method for panels.

    Attributes
    ----------
    fit : learns from the first observations of every series.
    least : observations that a series needs, one rolling origin included; four seasons in any case.
    longest : the longest season that it carries as one.
    absent : why it cannot be used here, e.g. what is not installed; "" where it can.
    usual : whether it is a candidate without being asked for.
    identity : what else its forecasts depend on, e.g. which pretrained model it is.
    """

    name: str
    fit: PanelFit
    least: int
    longest: int = 24
    absent: Callable[[], str] = str
    usual: bool = True
    identity: Callable[[], str] = str

    def shortest(self, season: int) -> int:
        """Observations that it needs of a series, with the longest season of its panel."""
        return max(self.least, 4 * season)


def _global_boosting(known: Sequence[Known], h: int) -> PanelPath:
    from models.forecasting.global_boosting import GlobalBooster

    return GlobalBooster(known, h).paths


# Candidates without being asked for where they can be used: whoever installs the extra wants them.
PANEL_MEMBERS: Mapping[str, PanelMember] = {
    member.name: member
    for member in (
        PanelMember("GlobalBoosting", _global_boosting, 24),
        PanelMember("LSTM", lstm.fit, 40, absent=lstm.absent, usual=not lstm.absent()),
        PanelMember(
            "Chronos2", chronos.fit, 16, absent=chronos.absent, usual=not chronos.absent(), identity=chronos.identity
        ),
    )
}


def check_members(names: Sequence[str]) -> None:
    """Raise InvalidValue unless every name is that of a member."""
    for name in names:
        if name not in MEMBERS and name not in PANEL_MEMBERS:
            raise InvalidValue(
                f"There is no forecasting member {name!r}.",
                remedy=f"Choose among {', '.join((*MEMBERS, *PANEL_MEMBERS))}.",
                field="members",
                value=name,
            )


def absence(name: str) -> str:
    """Why a member cannot be used here; "" where it can."""
    if name in PANEL_MEMBERS:
        return PANEL_MEMBERS[name].absent()
    return MEMBERS[name].absent()
