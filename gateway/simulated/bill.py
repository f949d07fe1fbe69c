"""The provider's own bill: every request that it charged for, also those whose client had gone away."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Charge:
    """One line.

    Attributes
    ----------
    id : of the answer, `chatcmpl-…`.
    call : what the client called it, by the header x-merit-call or x-request-id; None where it did not.
    cost : nanos.
    whole : whether the client was there until the end.
    """

    id: str
    call: str | None
    model: str
    input: int
    cached: int
    cache_write: int
    output: int
    reasoning: int
    cost: int
    whole: bool
    at: float


class Bill:
    """Charges, the last ones in full and all of them in sum.

    Parameters
    ----------
    most : lines that are kept.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._lines: deque[Charge] = deque(maxlen=most)
        self.count = 0
        self.total = 0
        self.by_model: dict[str, int] = {}

    def add(self, charge: Charge) -> None:
        self._lines.append(charge)
        self.count += 1
        self.total += charge.cost
        self.by_model[charge.model] = self.by_model.get(charge.model, 0) + charge.cost

    def clear(self) -> None:
        self._lines.clear()
        self.count = self.total = 0
        self.by_model = {}

    def statement(self, limit: int | None = None) -> Mapping[str, Any]:
        """The whole of it as JSON, the last `limit` lines; amounts in nanos."""
        lines = list(self._lines)
        return {
            "count": self.count,
            "total": self.total,
            "by_model": dict(self.by_model),
            "charges": [asdict(one) for one in (lines if limit is None else lines[max(0, len(lines) - limit) :])],
        }
