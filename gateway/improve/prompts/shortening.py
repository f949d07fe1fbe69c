"""What can go out of one text without changing what it says: blanks, and what stands there already.

Words are never changed. What goes is whole: a run of blanks, an empty line, a sentence or a paragraph that stands word
for word before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.improve.prompts.marked import PARAGRAPHS, SENTENCES, Marked, holds_kept
from gateway.improve.prompts.segments import segments

SENTENCE, PASSAGE = 20, 200
"""Shorter ones than so many characters stay, however often they stand there: in instructions, and in what users send,
where a repetition may be what it is about."""

_BLANKS = re.compile(r"(?<=\S)[ \t]{2,}(?=\S)")
_LINE_ENDS = re.compile(r"[ \t]+(?=\n)")
_EMPTY_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Repeat:
    """A passage that was left out because it stands before.

    Attributes
    ----------
    earlier : number of the message in which it stands.
    """

    text: str
    earlier: int


def without_blanks(text: str) -> str:
    """Without blanks that mean nothing: at the ends of lines, several in a row within prose, empty lines in a row, and
    around the whole. Those that begin a line may mean something and stay."""
    pieces = segments(text)
    shortened = [piece.text if piece.kept or not piece.text.strip() else _prose(piece.text) for piece in pieces]
    if pieces and not pieces[0].kept:
        shortened[0] = shortened[0].lstrip("\n")
    if pieces and not pieces[-1].kept:
        shortened[-1] = shortened[-1].rstrip()
    return "".join(shortened)


def _prose(text: str) -> str:
    return _EMPTY_LINES.sub("\n\n", _LINE_ENDS.sub("", _BLANKS.sub(" ", text)))


class Seen:
    """What was said before, in the messages so far.

    Parameters
    ----------
    data_too : whether passages with code, quotations or data in them may be left out where they are repeated; the first
        of them stays, byte for byte.
    """

    def __init__(self, *, data_too: bool = False) -> None:
        self._data_too = data_too
        self._before: dict[str, int] = {}

    def without_repeats(self, text: str, message: int, *, instructions: bool) -> tuple[str, list[Repeat]]:
        """A text without the paragraphs that stood before, and of instructions without such sentences.

        A text of which nothing would be left stays as it is.
        """
        marked = Marked(text)
        gone: list[Repeat] = []
        kept: list[str] = []
        paragraphs = PARAGRAPHS.split(marked.text)
        for place in range(0, len(paragraphs), 2):
            whole = paragraphs[place]
            left = "" if self._stood(marked, whole, message, SENTENCE if instructions else PASSAGE, gone) else whole
            if left and instructions:
                left = self._sentenced(marked, left, message, gone)
            if left.strip() or not whole.strip():
                kept += [paragraphs[place - 1] if kept else "", left]
        shortened = marked.original("".join(kept))
        return (shortened, gone) if gone and shortened.strip() else (text, [])

    def _sentenced(self, marked: Marked, paragraph: str, message: int, gone: list[Repeat]) -> str:
        parts = SENTENCES.split(paragraph)
        if len(parts) == 1:  # it was looked at as a paragraph
            return paragraph
        kept: list[str] = []
        for place in range(0, len(parts), 2):
            if self._stood(marked, parts[place], message, SENTENCE, gone):
                continue
            kept += [parts[place - 1] if kept else "", parts[place]]
        return "".join(kept)

    def _stood(self, marked: Marked, passage: str, message: int, least: int, gone: list[Repeat]) -> bool:
        """Whether a passage stood before and may go; it is remembered where it did not."""
        plain = " ".join(marked.original(passage).split())
        if len(plain) < least:
            return False
        before = self._before.get(plain)
        if before is None:
            self._before[plain] = message
            return False
        if holds_kept(passage) and not self._data_too:
            return False
        gone.append(Repeat(plain, before))
        return True
