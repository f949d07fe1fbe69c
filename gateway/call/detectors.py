"""Finds secrets and personal data in a text, by their shape and, where there is one, by their checksum."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

from store.redaction import KEY_HINTS, KEY_SHAPES

# No match but a key is longer than this, and whether something is a key is decided within it.
LONGEST = 400

KEY_TAIL = r"(?:\.?[A-Za-z0-9_-])*"
BLOCK_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK_HEAD = "-----BEGIN "
_BLOCK_REST = re.compile(r"[A-Z0-9 ]{0,53}-{0,5}")
_LONGEST_BLOCK_BEGIN = 80
BLOCK_END = re.compile(r"-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----")
LONGEST_BLOCK_END = 64
_KEY = re.compile(KEY_SHAPES + KEY_TAIL, re.VERBOSE)

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+-][A-Za-z0-9._%+-]{0,63}@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,4}[A-Za-z]{2,24}(?![A-Za-z0-9-])"
)
_CARD = re.compile(
    r"(?<![A-Za-z0-9])(?:[2-6]\d{3}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3})?|3\d{3}([ -])\d{6}\2\d{5}|[2-6]\d{12,18})"
    r"(?![A-Za-z0-9])"
)
# Country → length, of ISO 13616's registry.
_IBAN_LENGTHS = {
    15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
_IBAN = re.compile(
    "(?<![A-Za-z0-9])(?:"
    + "|".join(
        f"(?:{names.replace(' ', '|')})[0-9]{{2}}(?: ?[A-Z0-9]){{{length - 4}}}"
        for length, names in _IBAN_LENGTHS.items()
    )
    + ")(?![A-Za-z0-9])"
)
_PHONE = re.compile(
    r"(?<![A-Za-z0-9+.])(?:"
    r"(?:\+|00)[1-9]\d{0,2}(?:[ .\-/]?(?:\(\d{1,5}\)|\d{1,5})){2,6}"
    r"|(?:\(0\d{1,4}\)|0\d{1,4})[ /\-]?\d{3,8}(?:[ \-]\d{2,8}){0,3}"
    r"|(?:\(\d{3}\) ?|\d{3}[ .\-])\d{3}[ .\-]\d{4}"
    r")(?![A-Za-z0-9])"
)
_IPV4 = re.compile(r"(?<![A-Za-z0-9.])(?:\d{1,3}\.){3}\d{1,3}(?![A-Za-z0-9]|\.\d)")
_IPV6 = re.compile(r"(?<![A-Za-z0-9.:])(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}(?![A-Za-z0-9:])")
_NUMBERS = re.compile(r"\d{2}")

# Start, end, what it is.
Span = tuple[int, int, str]


def may_begin_block(text: str, start: int) -> int | None:
    """Where the end of a text, from `start` on, may become the beginning of a private key; None where it cannot."""
    place = text.find("-", max(start, len(text) - _LONGEST_BLOCK_BEGIN))
    while place >= 0:
        rest = text[place:]
        if _BLOCK_HEAD.startswith(rest):
            return place
        if rest.startswith(_BLOCK_HEAD) and _BLOCK_REST.fullmatch(rest, len(_BLOCK_HEAD)):
            return place
        place = text.find("-", place + 1)
    return None


def keys(text: str, start: int) -> Iterator[Span]:
    """API keys and tokens from `start` on."""
    if any(hint in text for hint in KEY_HINTS):
        for match in _KEY.finditer(text, start):
            yield match.start(), match.end(), "secret"


def personal_data(text: str, start: int) -> Iterator[Span]:
    """E-mail addresses, telephone, card and bank account numbers, internet addresses from `start` on."""
    if "@" in text:
        yield from _matches(_EMAIL, text, start, "e-mail address")
    if text.count(":") >= 3:
        yield from _matches(_IPV6, text, start, "internet address", _is_address)
    if _NUMBERS.search(text, start):
        yield from _matches(_CARD, text, start, "card number", _is_card)
        yield from _matches(_IBAN, text, start, "account number", _is_iban)
        yield from _matches(_PHONE, text, start, "telephone number", _is_phone)
        if text.count(".") >= 3:
            yield from _matches(_IPV4, text, start, "internet address", _is_address)


def _matches(
    pattern: re.Pattern[str], text: str, start: int, name: str, check: Callable[[str], bool] | None = None
) -> Iterator[Span]:
    for match in pattern.finditer(text, start):
        if check is None or check(match.group()):
            yield match.start(), match.end(), name


def _is_card(text: str) -> bool:
    """Luhn's sum."""
    digits = [int(one) for one in text if one.isdigit()]
    doubled = [2 * one - 9 * (one > 4) for one in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


def _is_iban(text: str) -> bool:
    """ISO 7064's remainder by 97."""
    plain = text.replace(" ", "")
    return int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1


def _is_phone(text: str) -> bool:
    digits = sum(one.isdigit() for one in text)
    return (9 if text[0] not in "+" else 8) <= digits <= 15


def _is_address(text: str) -> bool:
    """Of something on a network: those of the own machine tell nothing about anybody."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
