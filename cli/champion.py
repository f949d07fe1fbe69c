"""The churn champion that a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.train import own_name
from store.errors import NoChampion

if TYPE_CHECKING:
    from models.churn.model import ChurnModel
    from store.settings import Settings


def churn_champion(
    settings: Settings, name: str | None, version: int | None = None, *, own_first: bool = True
) -> tuple[str, int, ChurnModel]:
    """Name, version and model.

    Parameters
    ----------
    name : registered model; by default `churn-own` where it has a champion, else `churn`.
    version : instead of the champion.
    own_first : False for what only the platform's model can be asked.

    Raises
    ------
    NoChampion : nothing was promoted under any of the names.
    UnknownVersion, IntegrityFailed : the version is not there, or is no churn model.
    """
    from models.churn.model import ChurnModel
    from store.registry import Registry

    registry = Registry(settings)
    names = [name] if name else [own_name("churn"), "churn"] if own_first else ["churn"]
    found = next(((one, registry.alias(one, "champion")) for one in names if registry.alias(one, "champion")), None)
    if version is None and found is None:
        how = "`merit train churn --data FILE --entity ID --target COLUMN`" if own_first else "`merit train churn`"
        raise NoChampion(
            f"Nothing is champion under {' or '.join(repr(one) for one in names)} in {settings.root} (MERIT_HOME).",
            remedy=f"Train first: {how}; `merit registry list` shows what there is.",
        )
    chosen, number = found if version is None and found else (names[0], version)
    return chosen, int(number or 0), ChurnModel.load(registry.fetch(chosen, int(number or 0)))
