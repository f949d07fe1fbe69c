"""A text with a sign in place of each piece that must stay, so that no pattern looks into one."""

from __future__ import annotations

import re

from gateway.improve.prompts.segments import Segment, segments

# Of a private use, which no text of anybody's has.
_OPEN, _CLOSE = "\ue000", "\ue001"
_SIGN = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
PARAGRAPHS = re.compile(r"(\n[ \t]*\n\s*)")
"""Splits a text into paragraphs and the gaps between them."""
SENTENCES = re.compile(r"((?<=[.!?])\s+|\n+)")
"""Splits prose into sentences and the gaps between them; a line ends a sentence."""


class Marked:
    """Attributes
    ----------
    text : with the signs.
    """

    def __init__(self, text: str) -> None:
        # Where the text holds a sign of its own, all of it stays.
        pieces = segments(text) if _OPEN not in text and _CLOSE not in text else [Segment(text, "data")]
        self._pieces = [piece.text for piece in pieces if piece.kept]
        count = iter(range(len(self._pieces)))
        self.text = "".join(f"{_OPEN}{next(count)}{_CLOSE}" if piece.kept else piece.text for piece in pieces)

    def original(self, marked: str) -> str:
        """A part of the text as it was."""
        return _SIGN.sub(lambda found: self._pieces[int(found[1])], marked)


def holds_kept(marked: str) -> bool:
    """Whether anything in a part of a marked text must stay as it is."""
    return _OPEN in marked
