"""Lists written with commas."""

from __future__ import annotations

from store.errors import InvalidValue

EXAMPLES = {"--level": "80,95", "--season": "24,168"}


def numbers(text: str, option: str) -> list[float]:
    """`"80,95"` → [80.0, 95.0].

    Raises
    ------
    InvalidValue : a part is not a number; the message names the option and the part.
    """
    found = []
    for part in text.split(","):
        try:
            found.append(float(part))
        except ValueError:
            raise InvalidValue(
                f"{option} {text!r}: {part!r} is not a number.",
                remedy=f"Separate numbers by commas: {option} {EXAMPLES.get(option, '1,2')}.",
                field=option,
                value=part,
            ) from None
    return found


def names(text: str | None) -> tuple[str, ...]:
    """`"temperature, price"` → ("temperature", "price"); None is none."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def whole_numbers(text: str | None, option: str) -> list[int] | None:
    """`"24,168"` → [24, 168]; None stays None.

    Raises
    ------
    InvalidValue : a part is not a whole number.
    """
    if text is None:
        return None
    found = numbers(text, option)
    for value in found:
        if value != int(value):
            raise InvalidValue(
                f"{option} {text!r}: {value:g} is not a whole number.",
                remedy=f"Give steps as whole numbers: {option} 24,168.",
                field=option,
                value=value,
            )
    return [int(value) for value in found]
