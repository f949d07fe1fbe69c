"""How prices are told to people: elasticities, recommendations, what could not be advised, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.output import screen, show

if TYPE_CHECKING:
    from models.pricing.advice import Advice, Interval

# More rows than a person reads go to a file.
MOST_ROWS = 25
MOST_REASONS = 8


def recommendation_rows(advices: Sequence[Advice], problems: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """One row per product, and one per segment of those that have some; `problem` where no question could be put."""
    rows = []
    for advice in advices:
        rows.append(
            {
                "product": advice.question.product,
                "segment": None,
                "advised": advice.advised,
                "current_price": advice.current_price,
                "price": advice.price,
                "change": advice.price / advice.current_price - 1,
                "elasticity": _number(advice.elasticity.value),
                "elasticity_low": _number(advice.elasticity.low),
                "elasticity_high": _number(advice.elasticity.high),
                **_bounds("gain_revenue", advice.gain_revenue),
                **_bounds("gain_margin", advice.gain_margin),
                "unit_cost": advice.question.unit_cost,
                "position": advice.position,
                "binding": ", ".join(advice.binding),
                "reason": advice.reason,
                "experiment": advice.experiment,
                "problem": None,
            }
        )
        rows += [
            {
                "product": advice.question.product,
                "segment": one.segment,
                "advised": one.advised,
                "current_price": one.current_price,
                "price": one.price,
                "change": one.price / one.current_price - 1,
            }
            for one in advice.segments
        ]
    rows += [{"product": one["product"], "advised": False, "problem": one["problem"]} for one in problems]
    return rows


def show_prices(
    body: Mapping[str, Any],
    advices: Sequence[Advice],
    problems: Sequence[Mapping[str, str]],
    **written: Path | None,
) -> None:
    """The two tables, what could not be advised with the experiment that would settle it, and the verdict."""
    _show_elasticities(body["elasticities"])
    _show_recommendations(advices)
    _show_silence(advices, problems)
    _show_verdict(body)
    files = [str(path) for path in written.values() if path]
    if files:
        screen.print(f"Written: {', '.join(files)}", style="dim", highlight=False, markup=False)


def _show_elasticities(elasticities: Sequence[Mapping[str, Any]]) -> None:
    # What may be acted upon first, products before their segments, own prices before others'.
    ordered = sorted(elasticities, key=lambda one: (not one["identified"], one["of"] != "own", one["segment"] or ""))
    rows = [
        {
            "product": one["product"] or "(all)",
            "segment": one["segment"],
            "price of": one["of"],
            "elasticity": _elasticity(one),
            "method": one["method"],
            "rows": one["rows"],
            "prices seen": one["price_levels"],
            "level": f"{one['level']:.0%}",
            "usable": one["identified"],
        }
        for one in ordered
    ]
    with_segments = any(row["segment"] for row in rows)
    columns = ["product", *(["segment"] if with_segments else []), "price of", "elasticity", "method", "rows"]
    levels = sorted({row["level"] for row in rows})
    # Of many other products' prices one is bound to seem to matter: those intervals may be wider.
    same = len(levels) == 1
    title = f"Elasticities, {levels[0]} intervals" if same else "Elasticities"
    _table(rows, [*columns, "prices seen", *([] if same else ["level"]), "usable"], title)


def _show_recommendations(advices: Sequence[Advice]) -> None:
    if not advices:
        return
    question = advices[0].question
    gain = f"{question.objective} gained"
    rows = []
    for advice in advices:
        gained = advice.gain_margin if question.objective == "margin" else advice.gain_revenue
        rows.append(
            {
                "product": advice.question.product,
                "now": _price(advice.current_price),
                "price": _price(advice.price) if advice.advised else "cannot advise",
                "change": f"{advice.price / advice.current_price - 1:+.1%}" if advice.advised else "",
                gain: _gain(gained),
                "limited by": ", ".join(name.replace("_", " ") for name in advice.binding),
            }
        )
        rows += [
            {
                "product": f"  {one.segment}",
                "now": _price(one.current_price),
                "price": _price(one.price),
                "change": f"{one.price / one.current_price - 1:+.1%}",
            }
            for one in advice.segments
            if advice.advised
        ]
    title = (
        f"Recommendations for {question.objective} over {question.horizon_days} days, {question.level:.0%} intervals"
    )
    screen.print()
    _table(rows, ["product", "now", "price", "change", gain, "limited by"], title)


def _show_silence(advices: Sequence[Advice], problems: Sequence[Mapping[str, str]]) -> None:
    silent = [advice for advice in advices if not advice.advised]
    for advice in silent[:MOST_REASONS]:
        screen.print()
        _line(f"{advice.question.product}: {advice.reason}.", "yellow")
        if advice.experiment:
            _line(f"  {advice.experiment}")
    for one in problems[:MOST_REASONS]:
        screen.print()
        _line(f"{one['product']}: {one['problem']} {one['remedy']}", "yellow")
    more = max(0, len(silent) - MOST_REASONS) + max(0, len(problems) - MOST_REASONS)
    if more:
        screen.print()
        _line(f"… and {more:,} more without advice; --out FILE says why.", "dim")


def _show_verdict(body: Mapping[str, Any]) -> None:
    model = body["model"]
    screen.print()
    if "reason" in body:
        _line(str(body["reason"]))
    champion = model["champion"]
    if champion == model["version"]:
        state = "is champion"
    elif champion is None:
        state = "was registered; there is no champion"
    else:
        state = f"was registered; champion is version {champion}"
    _line(f"{model['name']} v{model['version']} {state}.", "bold")


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str) -> None:
    show(rows[:MOST_ROWS], columns, as_json=False, title=title)
    if len(rows) > MOST_ROWS:
        _line(f"… and {len(rows) - MOST_ROWS:,} more; --out FILE and --report FILE.json have all.", "dim")


def _line(text: str, style: str | None = None) -> None:
    screen.print(text, style=style, highlight=False, markup=False)


def _elasticity(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return "–"
    bounds = f" [{one['low']:.2f}, {one['high']:.2f}]" if one["low"] is not None and one["high"] is not None else ""
    return f"{one['value']:.2f}{bounds}"


def _price(value: float) -> str:
    return f"{value:,.2f}" if value >= 0.1 else f"{value:.4g}"


def _gain(value: Interval | None) -> str:
    if value is None:
        return ""
    return f"{_signed(value.value)} [{_signed(value.low)}, {_signed(value.high)}]"


def _signed(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) >= 1000 else f"{value:+.3g}"


def _bounds(name: str, value: Interval | None) -> dict[str, float | None]:
    return {
        name: value.value if value else None,
        f"{name}_low": value.low if value else None,
        f"{name}_high": value.high if value else None,
    }


def _number(value: float) -> float | None:
    return value if value == value else None
