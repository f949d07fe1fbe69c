"""The families there are. A new one is a folder beside this file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any

from models.lifecycle.family import ModelFamily
from store.errors import InvalidValue, UnknownModel
from store.registry import check_name

# name → module, class of the family, class of its options. Imported when asked for: serving needs none of the trainers.
FAMILIES: Mapping[str, tuple[str, str, str]] = {
    "forecasting": ("models.forecasting.family", "ForecastingFamily", "ForecastOptions"),
    "churn": ("models.churn.family", "ChurnFamily", "ChurnOptions"),
    "pricing": ("models.pricing.family", "PricingFamily", "PricingOptions"),
    "segmentation": ("models.segmentation.family", "SegmentationFamily", "SegmentationOptions"),
    "routing": ("models.routing.family", "RoutingFamily", "RoutingOptions"),
    "quality": ("models.quality.family", "QualityFamily", "QualityOptions"),
}


@dataclass(frozen=True)
class Spec:
    """What to train, small enough to travel between tasks.

    Attributes
    ----------
    family : a key of `FAMILIES`.
    name : the registered model that this training competes for; several may belong to one family.
    options : keyword arguments of the family's options class, JSON-ready.

    Raises
    ------
    InvalidValue : a name under which nothing could be registered after the training.
    """

    family: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)

    def build(self) -> ModelFamily:
        """The family, ready to fit.

        Raises
        ------
        UnknownModel : there is no such family.
        InvalidValue : an option is not one of the family's.
        """
        if self.family not in FAMILIES:
            raise UnknownModel(
                f"There is no family {self.family!r}.", remedy=f"Choose one of {', '.join(FAMILIES)}.", field="family"
            )
        module_name, family_name, options_name = FAMILIES[self.family]
        module = import_module(module_name)
        options_class = getattr(module, options_name)
        known = {item.name for item in fields(options_class)}
        for option in self.options:
            if option not in known:
                raise InvalidValue(
                    f"{self.family} has no option {option!r}.",
                    remedy=f"Its options are {', '.join(sorted(known))}.",
                    field=option,
                )
        family: ModelFamily = getattr(module, family_name)(options_class(**self.options))
        return family
