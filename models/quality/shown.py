"""An answer, read once: its sentences, what each adds to those before, its lists and code, and where it breaks off.

A sentence adds something unless it was said before or is filler: has hardly a word that would not fit anywhere. What an
answer is worth is told by the sentences that add something; the others count only as waste. So it does not help an
answer to be padded: what is repeated or said of nothing in particular changes none of what is credited.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from models.quality.vocabulary import FUNCTION, GENERIC, IN_TITLES, OPENERS

# Of a long answer, the beginning and the end.
HEAD, TAIL = 16_000, 8_000
# Of a sentence's words, the share in GENERIC from which on it is filler; of its pairs of neighbours, the share that was
# met before from which on it is a repetition.
FILLER, REPEATED = 0.85, 0.8
_FUNCTION = FUNCTION["English"]
_STEM = 6
# An unfinished line has this many words at least, or ends in a word that nothing ends in.
_WHOLE_LINE = 6
_VERSE = 4
_PLAIN = 4
_TAIL_SEEN = 20

# Of ASCII, everything but letters and digits parts words.
_PARTING = bytes(code if chr(code).isalnum() and code < 128 else 32 for code in range(256))
# Scripts that put no spaces between words: each character is one.
_CHARACTER = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CHARACTER}]|[^\W_{_CHARACTER}]+")
_END_ASCII = re.compile(r"[.!?][\"')\]*_]{0,3}\s+(?=[A-Z0-9\"'(\[*_])")
_END = re.compile(r"[.!?…][\"'”»)\]*_]{0,3}\s+(?=[A-Z0-9\"'“«(\[*_\u00c0-\u00de¿¡])|[。！？]+")
_CAPITAL = re.compile(r" ([A-Z][a-z]+)\b")
_ITEM = re.compile(r"(?:[-*•+–]|\(?\d{1,3}[.)]|[a-zA-Z][.)])\s+")
_STOPPED = ".!?…:;\"'“”‘’«»()[]*_-–—/|#>"
_ENDED = ".!?…:;。！？)]}>\"'”»`*_|"
_DANGLING = frozenset(
    "a an the and or but nor to of with for as from by at than that which who whose because if when while is are was "  # noqa: SIM905
    "were be been has have had can could will would should must may might i we they he she its their our your my into "
    "onto between not very more most such this these those one in on also then so".split()
)


@dataclass(slots=True)
class Shown:
    """An answer as it reads.

    Attributes
    ----------
    text : without white space at the edges; `lower` in small letters.
    prose : what stands outside code fences.
    code : (language, text) of each fenced block; `fenced` is False where the last one is not closed.
    words, waste : words of the prose; those of sentences that add nothing.
    sentences : of the prose, whether or not they add something.
    length : words of sentences that add something; where none does, of all.
    fresh : the different words of each of those; `by_sentence` : their stems without function words, `stems` : of all.
    content : their words that are no filler; `telling` : how many each of them has.
    items : entries of lists that add something.
    broken : places where a sentence breaks off, the end among them.
    ends : whether every line and the end are whole.
    """

    text: str
    lower: str
    prose: str
    code: tuple[tuple[str, str], ...]
    fenced: bool
    words: int
    waste: int
    sentences: int
    length: int
    fresh: list[set[str]]
    by_sentence: list[set[str]]
    stems: set[str]
    content: int
    telling: list[int]
    items: int
    broken: int
    ends: bool


def stem(word: str) -> str:
    """The beginning of a long word, a short one without the s of a plural: emissions and emission are one."""
    if len(word) > _STEM:
        return word[:_STEM]
    return word[:-1] if len(word) > 3 and word[-1] == "s" else word


def words_of(text: str) -> list[str]:
    """Words in small letters."""
    lower = text.lower()
    if lower.isascii():
        return lower.encode().translate(_PARTING, b"'").decode().split()
    return _WORD.findall(lower.replace("'", "").replace("’", ""))


def read(answer: str) -> Shown:
    """Read an answer."""
    text = answer.strip()
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    prose, code, fenced = _fences(text)
    repeated, cut = _repeated_tail(prose)
    lines = [line.strip() for line in prose[:repeated].split("\n")]
    lines = [line for line in lines if line]
    seen: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    fresh: list[set[str]] = []
    everything: list[str] = []
    length = total = waste = count = items = seams = 0
    open_lines = int(cut)
    for line, after in pairwise((*lines, "")):
        open_lines += not after[:1].islower() and _breaks_off(line)
        marked = _ITEM.match(line)
        if marked is not None:
            line = line[marked.end() :]
        parts, broken = _sentences(line)
        seams += broken
        added = False
        for part in parts:
            words = words_of(part)
            if not words:
                continue
            count += 1
            total += len(words)
            told = _adds(words, seen, pairs)
            if told is not None:
                fresh.append(told)
                length += len(words)
                added = True
            else:
                waste += len(words)
                if not fresh:
                    everything += words
        if marked is not None and added:
            items += 1
    for part in _sentences(prose[repeated:])[0] if repeated < len(prose) else ():
        words = words_of(part)
        count += bool(words)
        total += len(words)
        waste += len(words)
    if open_lines >= _VERSE and open_lines >= 0.6 * len(lines):
        open_lines = 0  # verse
    stems = [_stems(words) for words in fresh]
    telling = [len(words - GENERIC) for words in fresh]
    content = sum(telling)
    if not fresh and everything:
        # An answer that says nothing in particular, such as "Yes.", is what it is; the longer, the less.
        fresh.append(set(everything))
        telling.append(0)
        length, waste = total, max(0, total - _PLAIN)
    return Shown(
        text,
        text.lower(),
        prose,
        code,
        fenced,
        total,
        waste,
        count,
        length,
        fresh,
        stems,
        set().union(*stems),
        content,
        telling,
        items,
        seams + open_lines + (not fenced),
        fenced and not seams and not open_lines,
    )


def _sentences(line: str) -> tuple[list[str], int]:
    """Sentences, and how many of them run into the next one without an end."""
    cuts = [found.end() for found in (_END_ASCII if line.isascii() else _END).finditer(line)]
    seams = [
        found.start() + 1
        for found in _CAPITAL.finditer(line)
        if found[1] in OPENERS and _runs_on(line, found.start(), found[1])
    ]
    if not cuts and not seams:
        return [line], 0
    places = sorted({0, *cuts, *seams, len(line)})
    return [line[begin:end] for begin, end in pairwise(places)], len(seams)


def _runs_on(line: str, at: int, word: str) -> bool:
    """Whether a word with a capital begins a sentence although the one before has no end."""
    before = line[line.rfind(" ", 0, at) + 1 : at]
    # In a title every word has a capital.
    return bool(before) and before[-1] not in _STOPPED and (before[0].islower() or word not in IN_TITLES)


def _adds(words: list[str], seen: set[str], pairs: set[tuple[str, str]]) -> set[str] | None:
    """The different words of a sentence that adds something; None for one that does not."""
    key = " ".join(words)
    if key in seen:
        return None
    seen.add(key)
    own = set(words)
    if len(words) > 4:
        runs = set(pairwise(words))
        before = len(runs & pairs)
        pairs |= runs
        if before >= REPEATED * len(runs):
            return None
    return own if len(words) < 3 or len(own & GENERIC) < FILLER * len(own) else None


def _stems(words: set[str]) -> set[str]:
    return {
        word[:_STEM] if len(word) > _STEM else word[:-1] if len(word) > 3 and word[-1] == "s" else word
        for word in words - _FUNCTION
    }


def _fences(text: str) -> tuple[str, tuple[tuple[str, str], ...], bool]:
    if "```" not in text:
        return text, (), True
    parts = text.split("```")
    code = []
    for block in parts[1::2]:
        head, _, body = block.partition("\n")
        code.append((head.strip().lower(), body) if body or " " not in head.strip() else ("", block))
    return "\n".join(parts[::2]).strip(), tuple(code), len(parts) % 2 == 1


def _repeated_tail(prose: str) -> tuple[int, bool]:
    """Where the sentences at the end begin that stand in the text before, however they are joined to it; and whether
    one of them breaks off."""
    end, cut = len(prose), False
    for _ in range(8):
        if end < 2 * _TAIL_SEEN:
            break
        at = prose.find(prose[end - _TAIL_SEEN : end], 0, end - 1)
        if at < 0:
            break
        i, j = at - 1, end - _TAIL_SEEN - 1
        while i >= 0 and j >= at + _TAIL_SEEN and prose[i] == prose[j]:
            i, j = i - 1, j - 1
        # Back to where a sentence begins.
        begins = i < 0 or prose[i] == "\n" or prose[max(0, i - 8) : i + 1].rstrip()[-1:] in _ENDED
        opened = None if begins else _END.search(prose[i + 1 : at + _TAIL_SEEN])
        if not begins and opened is None:
            break
        cut = cut or prose[end - 1] not in _ENDED
        end = len(prose[: j + 1 + (opened.end() if opened is not None else 0)].rstrip())
    return end, cut


def _breaks_off(line: str) -> bool:
    """Whether a line ends in the middle of a sentence."""
    if line[-1] in _ENDED or line[0] in "|#":
        return False
    words = line.rstrip(",").split()
    if line[-1] == "," or (len(words) > 1 and words[-1] in _DANGLING):
        return True
    if len(words) < _WHOLE_LINE or _ITEM.match(line) is not None or line.count(",") * 3 >= len(words):
        return False
    # "The result is: 42"
    stated = line.rpartition(": ")
    return not (stated[1] and len(stated[2].split()) <= 4)
