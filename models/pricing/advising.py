"""Which price to ask: the best one within the constraints, or why none can be advised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.pricing.advice import Advice, Constraints, Elasticity, Interval, Outlook, Question, SegmentPrice
from models.pricing.draws import Sale, draw, gain, outlook
from models.pricing.market import Cell, Market
from models.pricing.optimum import BEYOND_SEEN, SAME, Limits, Stake, best_prices, best_step, limits, without
from store.errors import InvalidValue

Key = tuple[str | None, str | None, str]


@dataclass(frozen=True)
class Known:
    """What an answer rests on.

    Attributes
    ----------
    elasticities : (product, segment, of) → estimate.
    experiments : product or product/segment → what would settle an elasticity that is not identified.
    """

    market: Market
    elasticities: Mapping[Key, Elasticity]
    experiments: Mapping[str, str]

    def own(self, product: str, segment: str | None) -> Elasticity:
        """A segment's own estimate; the product's where none was made for the segment."""
        found = self.elasticities.get((product, segment, "own")) or self.elasticities.get((product, None, "own"))
        assert found is not None, f"no estimate, not even an unidentified one, for {product}"
        return found

    def rival(self, product: str) -> Elasticity | None:
        """The response to the competitor's price: the product's own, else that of all products, where identified."""
        for key in (product, None):
            found = self.elasticities.get((key, None, "competitor"))
            if found is not None and found.identified:
                return found
        return None


@dataclass(frozen=True)
class _Place:
    """A cell as the question sees it."""

    cell: Cell
    price: float
    rival_ratio: float
    base: float


def advise(known: Known, question: Question) -> Advice:
    """The best price, what it is expected to bring beside today's, and which constraints bind.

    The response to the price is the causal elasticity; only the level of sales at today's price comes from the demand
    models. Where the elasticity is not identified no price is advised.

    Raises
    ------
    UnknownEntity : the model knows no such product or segment.
    InvalidValue : an impossible number, or constraints that contradict each other.
    """
    _check(question)
    places = _places(known.market, question)
    elasticity = known.own(question.product, question.segment)
    current = _mean([one.price for one in places], [one.base for one in places])
    position = _position(places, question)
    now = _outlook_now(known, question, places, elasticity)
    plain = Advice(question, False, "", current, current, elasticity, now=now, position=position)
    if not elasticity.identified:
        experiment = known.experiments.get(_name(question), known.experiments.get(question.product, ""))
        reason = f"cannot advise, because {elasticity.reason}"
        return replace(plain, reason=reason, experiment=experiment, segments=_kept(question, places))
    for one in places:
        low, high = one.cell.lowest * (1 - BEYOND_SEEN), one.cell.highest * (1 + BEYOND_SEEN)
        if not low * (1 - SAME) <= one.price <= high * (1 + SAME):
            reason = (
                f"cannot advise, because the current price {one.price:.4g} of {one.cell.name} lies outside the prices "
                f"in the data, {one.cell.lowest:.4g} to {one.cell.highest:.4g}: nothing is known about demand there"
            )
            experiment = "Train again on data that hold sales at this price."
            return replace(plain, reason=reason, experiment=experiment, now=None, segments=_kept(question, places))
    prices = _best(known, question, places)
    before = draw(known.market, _sales(known, question, places, [one.price for one in places]))
    after = draw(known.market, _sales(known, question, places, prices))
    weights = [
        one.base * (price / one.cell.price) ** known.own(question.product, _own_segment(question, one)).value
        for one, price in zip(places, prices, strict=True)
    ]
    price = _mean(prices, weights)
    then = outlook(price, after, question.level)
    gained = gain(before, after, question.objective, question.level)
    changed = any(abs(new / one.price - 1) > SAME for new, one in zip(prices, places, strict=True))
    return replace(
        plain,
        advised=True,
        reason=_reason(question, elasticity, current, price, changed, gained),
        price=price if changed else current,
        now=outlook(current, before, question.level),
        then=then,
        gain_revenue=gain(before, after, "revenue", question.level),
        gain_margin=gain(before, after, "margin", question.level),
        binding=_binding(known, question, places, prices),
        position=position if not changed or position is None else position * price / current,
        segments=_segments(known, question, places, prices, weights),
    )


def _check(question: Question) -> None:
    tests = (
        ("current_price", question.current_price, 0.0, False),
        ("competitor_price", question.competitor_price, 0.0, False),
        ("unit_cost", question.unit_cost, 0.0, True),
    )
    for name, value, least, zero in tests:
        if value is None:
            continue
        if not np.isfinite(value) or value < least or (value == 0 and not zero) or value > 1e12:
            raise InvalidValue(
                f"{name} = {value!r} is no {'cost' if zero else 'price'}.",
                remedy=f"Give a {'number of at least 0' if zero else 'positive number'}.",
                field=name,
                value=value,
            )
    if not 0.5 <= question.level < 1.0:
        raise InvalidValue(
            f"level = {question.level!r} lies outside 0.5 to 1.", remedy="Give a level such as 0.9.", field="level"
        )
    if question.objective not in ("margin", "revenue"):
        raise InvalidValue(
            f"objective = {question.objective!r} is neither margin nor revenue.",
            remedy="Choose one of them.",
            field="objective",
            value=question.objective,
        )


def _places(market: Market, question: Question) -> list[_Place]:
    cells = market.select(question.product, question.segment)
    days = market.days(question.horizon_days)
    last = _mean([cell.price for cell in cells], [market.expected(cell, days) for cell in cells])
    places = []
    for cell in cells:
        price = cell.price
        if question.current_price is not None:
            # One number for several segments moves all of them: their relation stays.
            price = question.current_price if len(cells) == 1 else cell.price * question.current_price / last
        ratio = 1.0
        if question.competitor_price is not None and cell.competitor is not None:
            ratio = question.competitor_price / cell.competitor
        places.append(_Place(cell, price, ratio, market.expected(cell, days)))
    return places


def _own_segment(question: Question, place: _Place) -> str | None:
    """Whose elasticity a cell responds by: its own where segments are told apart, else the product's."""
    return place.cell.segment if question.segment is not None or question.constraints.fairness else None


def _sales(known: Known, question: Question, places: Sequence[_Place], prices: Sequence[float]) -> list[Sale]:
    rival = known.rival(question.product)
    return [
        Sale(
            base=one.base,
            price=price,
            unit_cost=question.unit_cost,
            ratio=price / one.cell.price,
            own=known.own(question.product, _own_segment(question, one)),
            rival_ratio=one.rival_ratio,
            rival=rival,
        )
        for one, price in zip(places, prices, strict=True)
    ]


def _best(known: Known, question: Question, places: Sequence[_Place], drop: str = "") -> list[float]:
    """The best price of every cell; `drop` names a constraint to do without."""
    constraints = without(question.constraints, drop) if drop in Constraints.__dataclass_fields__ else None
    constraints = constraints or question.constraints
    stakes = []
    for one in places:
        own = known.own(question.product, _own_segment(question, one))
        bounds = limits(one.cell, one.price, question.unit_cost, constraints, seen=drop != "prices seen")
        weight = one.base * (one.price / one.cell.price) ** own.value if np.isfinite(own.value) else one.base
        value = own.value if own.identified else None
        stakes.append(Stake(one.price, question.unit_cost, weight, value, bounds))
    if question.segment is not None and constraints.fairness is not None:
        stakes = [replace(stakes[0], limits=_fair(known.market, question, stakes[0].limits, constraints.fairness))]
    if question.segment is None and constraints.fairness is not None and len(places) > 1:
        found = best_prices(stakes, question.objective, constraints.fairness)
        rounded = [_rounded(float(price), one.limits) for price, one in zip(found, stakes, strict=True)]
        fair = max(rounded) <= constraints.fairness * min(rounded) * (1 + 1e-9)
        return rounded if fair else [float(price) for price in found]
    step = best_step(stakes, question.objective)
    return [one.price if step == 1.0 else _rounded(one.price * step, one.limits) for one in stakes]


def _fair(market: Market, question: Question, bounds: Limits, fairness: float) -> Limits:
    """The limits of a segment whose siblings keep their prices."""
    others = [cell.price for cell in market.select(question.product, None) if cell.segment != question.segment]
    if not others:
        return bounds
    low, high = max(others) / fairness, min(others) * fairness
    if low > high * (1 + 1e-12):
        raise InvalidValue(
            f"The other segments' prices, {min(others):.4g} to {max(others):.4g}, differ by more than fairness = "
            f"{fairness:g} allows already.",
            remedy="Leave the segment out: then the prices of all segments are solved together.",
            field="constraints.fairness",
            value=fairness,
        )
    low, high = max(low, bounds.low), min(high, bounds.high)
    if low > high * (1 + 1e-12):
        raise InvalidValue(
            f"fairness = {fairness:g} asks for {max(others) / fairness:.4g} to {min(others) * fairness:.4g}, "
            f"the other constraints for {bounds.low:.4g} to {bounds.high:.4g}.",
            remedy="Loosen one of them, or leave the segment out: then all segments are solved together.",
            field="constraints.fairness",
            value=fairness,
        )
    return replace(bounds, low=low, high=max(low, high))


def _binding(known: Known, question: Question, places: Sequence[_Place], prices: Sequence[float]) -> tuple[str, ...]:
    """The constraints without which another price would be better; where several hold a price at once, all of them."""
    given = [name for name in Constraints.__dataclass_fields__ if getattr(question.constraints, name) is not None]
    found = []
    for name in [*given, "prices seen"]:
        try:
            other = _best(known, question, places, name)
        except InvalidValue:
            continue
        if any(abs(new / old - 1) > SAME for new, old in zip(other, prices, strict=True)):
            found.append(name)
    if not found:
        for one, price in zip(places, prices, strict=True):
            bounds = limits(one.cell, one.price, question.unit_cost, question.constraints)
            if abs(price / one.price - 1) > SAME:
                found += bounds.low_by if price <= bounds.low * (1 + SAME) else ()
                found += bounds.high_by if price >= bounds.high * (1 - SAME) else ()
    return tuple(dict.fromkeys(found))


def _segments(
    known: Known, question: Question, places: Sequence[_Place], prices: Sequence[float], quantities: Sequence[float]
) -> tuple[SegmentPrice, ...]:
    if question.segment is not None or places[0].cell.segment is None:
        return ()
    return tuple(
        SegmentPrice(
            segment=str(one.cell.segment),
            current_price=one.price,
            price=price,
            quantity=quantity,
            advised=known.own(question.product, _own_segment(question, one)).identified,
        )
        for one, price, quantity in zip(places, prices, quantities, strict=True)
    )


def _kept(question: Question, places: Sequence[_Place]) -> tuple[SegmentPrice, ...]:
    if question.segment is not None or places[0].cell.segment is None:
        return ()
    return tuple(SegmentPrice(str(one.cell.segment), one.price, one.price, one.base, advised=False) for one in places)


def _outlook_now(known: Known, question: Question, places: Sequence[_Place], elasticity: Elasticity) -> Outlook | None:
    """Today's price can be spoken of without an elasticity where it is the price last seen."""
    if not elasticity.identified and any(abs(one.price / one.cell.price - 1) > SAME for one in places):
        return None
    prices = [one.price for one in places]
    drawn = draw(known.market, _sales(known, question, places, prices))
    return outlook(_mean(prices, [one.base for one in places]), drawn, question.level)


def _position(places: Sequence[_Place], question: Question) -> float | None:
    rivals = [question.competitor_price or one.cell.competitor for one in places]
    if any(rival is None for rival in rivals):
        return None
    weights = [one.base for one in places]
    return _mean([one.price for one in places], weights) / _mean([float(rival or 0.0) for rival in rivals], weights)


def _reason(
    question: Question, elasticity: Elasticity, current: float, price: float, changed: bool, gained: Interval
) -> str:
    response = (
        f"a price 1 % higher sells {-elasticity.value:.2g} % less "
        f"({elasticity.level:.0%} interval {-elasticity.high:.2g} to {-elasticity.low:.2g})"
    )
    if not changed:
        return f"the current price is the best within the constraints: {response}"
    verb = "raise" if price > current else "lower"
    doubt = ""
    if gained.low < 0 < gained.high:
        doubt = f"; that it gains {question.objective} is likely, not certain"
    return f"{verb} the price by {abs(price / current - 1):.1%} for more {question.objective}: {response}{doubt}"


def _rounded(price: float, bounds: Limits) -> float:
    """Cents, or four digits where the price is small, without leaving the limits."""
    digits = 2 if price >= 10 else 3 - int(np.floor(np.log10(price)))
    near = round(price, digits)
    if near < bounds.low or near > bounds.high:
        unit = 10.0**-digits
        near = round(near + unit if near < bounds.low else near - unit, digits)
    return near if bounds.low <= near <= bounds.high else price


def _name(question: Question) -> str:
    return question.product if question.segment is None else f"{question.product}/{question.segment}"


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    if len(values) == 1:
        return float(values[0])
    total = float(np.sum(weights))
    return float(np.average(values, weights=weights if total > 0 else None))
