"""The models as they are served now: those of the world, with what was adjusted while running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from features.world.llm.models import SimulatedModel
from features.world.llm.offers import MODELS
from gateway.simulated.asked import Refused, invalid

# What may be adjusted: field → (the model's own, factor to it, least, most).
_ADJUSTABLE: Mapping[str, tuple[str, float, float, float]] = {
    "input_price": ("input", 1_000.0, 0.0, 1e6),
    "output_price": ("output", 1_000.0, 0.0, 1e6),
    "cached_price": ("cached", 1_000.0, 0.0, 1e6),
    "ttft_ms": ("ttft_ms", 1.0, 0.0, 1e7),
    "tokens_per_second": ("tokens_per_second", 1.0, 0.01, 1e9),
    "failures": ("failures", 1.0, 0.0, 1.0),
    "wordiness": ("wordiness", 1.0, 0.1, 10.0),
    "thinking": ("thinking", 1.0, 0.0, 20.0),
}
LOCAL = "simulated-local"
_OWNERS = {"simulated": "simulated", LOCAL: "local"}


class ServedModels:
    """Models by provider and name, adjustable. `quality` is a shift of the skill, in logits: -1.5 is a bad day."""

    def __init__(self) -> None:
        self._models: dict[str, SimulatedModel] = {}
        self._shifts: dict[str, float] = {}
        self.changes = 0
        self.reset()

    def reset(self) -> None:
        """All as they were."""
        self._models = dict(MODELS)
        self._shifts = {}
        self.changes += 1

    def find(self, provider: str, name: str) -> SimulatedModel:
        """A model as the caller names it: `small`, or `local-small` for the local one at the address of the others.

        Raises
        ------
        Refused : 404, there is none.
        """
        found = self._models.get(f"{provider}/{name}") or self._models.get(name)
        if found is None and name.startswith("local-"):
            found = self._models.get(f"{LOCAL}/{name.removeprefix('local-')}")
        if found is None:
            message = f"The model {name[:100]!r} does not exist or you do not have access to it."
            raise Refused(404, "invalid_request_error", message, param="model", code="model_not_found")
        return found

    def shift(self, model: SimulatedModel) -> float:
        return self._shifts.get(model.id, 0.0)

    def offered(self, provider: str) -> Iterator[tuple[str, SimulatedModel]]:
        """(name, model) of what is offered at a provider's address."""
        for model in self._models.values():
            if model.provider == provider:
                yield model.name, model
            elif provider == "simulated":
                yield f"local-{model.name}", model

    def listing(self, provider: str) -> list[dict[str, Any]]:
        """The list of models in OpenAI's shape."""
        return [
            {"id": name, "object": "model", "created": 1_767_225_600, "owned_by": _OWNERS[model.provider]}
            for name, model in self.offered(provider)
        ]

    def add(self, model: SimulatedModel) -> None:
        """Serve one more model."""
        self._models[model.id] = model
        self.changes += 1

    def remove(self, model_id: str) -> bool:
        """Serve a model no longer; False where there was none."""
        self.changes += 1
        return self._models.pop(model_id, None) is not None

    def adjust(self, model_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change prices (dollars per million tokens), speed, failures or quality of a model from the next call on.

        Raises
        ------
        Refused : no such model, no such field, or a value out of bounds.
        """
        if model_id not in self._models:
            raise Refused(404, "invalid_request_error", f"There is no model {model_id[:100]!r}.", param="model")
        fields: dict[str, float] = {}
        for name, value in changes.items():
            if name != "quality" and name not in _ADJUSTABLE:
                raise invalid(f"{name!r} cannot be adjusted; quality and {', '.join(_ADJUSTABLE)} can.", name)
            own, factor, low, high = _ADJUSTABLE.get(name, ("", 1.0, -20.0, 20.0))
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise invalid(f"{name} = {value!r} is not a number between {low:g} and {high:g}.", name)
            if own:
                fields[own] = float(value) * factor
        if "quality" in changes:
            self._shifts[model_id] = float(changes["quality"])
        # What was said of the price holds for prompts of every length.
        priced = {"tier": None, "cache_write": None} if "input" in fields else {}
        self._models[model_id] = replace(self._models[model_id], **{**priced, **fields})  # type: ignore[arg-type]
        self.changes += 1
        return self.describe(self._models[model_id])

    def describe(self, model: SimulatedModel) -> dict[str, Any]:
        """A model for people: prices in dollars per million tokens."""
        return {
            "id": model.id,
            "kind": model.kind,
            "input_price": model.input / 1_000,
            "output_price": model.output / 1_000,
            "cached_price": model.cached / 1_000,
            "ttft_ms": model.ttft_ms,
            "tokens_per_second": model.tokens_per_second,
            "failures": model.failures,
            "wordiness": model.wordiness,
            "thinking": model.thinking,
            "context": model.context,
            "max_output": model.max_output,
            "capabilities": sorted(model.capabilities),
            "quality": self.shift(model),
        }

    def __iter__(self) -> Iterator[SimulatedModel]:
        return iter(self._models.values())
