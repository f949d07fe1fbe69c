"""What is left of a prompt when its words are taken away: counts of its structure, and numbers of its words.

Words, pairs of neighbours and the first letters of long words are hashed into 2¹⁸ buckets; what is kept is which
buckets were met and how often. Everything is done on arrays of bytes, for one text or a hundred thousand at a time, and
a text gives the same numbers whatever others it comes with.

A word is a run of ASCII letters, digits (all digits are one: 0) and two-byte characters; capitals are small. Of scripts
that put no spaces between words, whose characters take three bytes or more, each character is a word. The hash of a
word is a polynomial in its bytes modulo 2⁶⁴ (Karp and Rabin, 1987), told for every word at once from running sums, and
mixed by the finaliser of MurmurHash3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VERSION = 1
BITS = 18
# Of a long text, this much of the beginning and the end is looked at, as the gateway does.
HEAD, TAIL = 2_400, 1_200
STEM = 5
# The first eleven as log(1 + number), the next six as shares of the bytes.
STRUCTURE = (
    "length", "words", "numbers", "lines", "questions", "equals", "code", "backslashes", "quotes", "colons", "blanks",
    "capitals", "digits", "marks", "brackets", "foreign", "script",
    "word_length", "commas", "options", "list", "last_question", "distinct",
)  # fmt: skip
_LOGARITHMIC, _SHARES = 11, 17

_BLOCK = 4 << 20
_LONGEST = 4 * (HEAD + TAIL + 2)
_SEPARATOR, _LETTER, _DIGIT, _TWO_BYTE, _REST, _CHARACTER = range(6)
_BASE = 0x9E3779B97F4A7C15 | 1
_MASK = (1 << 64) - 1

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Gists:
    """Gists of texts.

    Attributes
    ----------
    structure : (texts, `STRUCTURE`), float32.
    starts : (texts + 1); the buckets of text i are `buckets[starts[i]:starts[i + 1]]`.
    buckets : uint32, ascending and different within a text.
    counts : uint8, how often each was met, at most 255.
    """

    structure: NDArray[np.float32]
    starts: NDArray[np.int64]
    buckets: NDArray[np.uint32]
    counts: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.structure)

    def packed(self) -> list[bytes]:
        """One string of bytes for each, which `unpacked` reads: 4 bytes for a bucket and its count."""
        whole = ((self.buckets << np.uint32(8)) | self.counts).astype("<u4")
        return [whole[a:b].tobytes() for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]

    def packed_structure(self) -> list[bytes]:
        return [row.tobytes() for row in self.structure.astype("<f4")]


def unpacked(words: Sequence[bytes], structure: Sequence[bytes]) -> Gists:
    """Gists from their strings of bytes."""
    lengths = np.array([len(one) // 4 for one in words], dtype=np.int64)
    whole = np.frombuffer(b"".join(words), dtype="<u4").astype(np.uint32)
    rows = np.frombuffer(b"".join(structure), dtype="<f4").astype(np.float32).reshape(len(words), len(STRUCTURE))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return Gists(rows, starts, whole >> np.uint32(8), (whole & np.uint32(255)).astype(np.uint8))


def gists(texts: Sequence[str]) -> Gists:
    """Read texts."""
    parts = [_block(block) for block in _blocks(texts)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        none = np.zeros(0)
        return Gists(
            np.zeros((0, len(STRUCTURE)), np.float32),
            np.zeros(1, np.int64),
            none.astype(np.uint32),
            none.astype(np.uint8),
        )
    lengths = np.concatenate([np.diff(one.starts) for one in parts])
    return Gists(
        np.concatenate([one.structure for one in parts]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([one.buckets for one in parts]),
        np.concatenate([one.counts for one in parts]),
    )


def word_buckets(words: Sequence[str]) -> NDArray[np.int64]:
    """The bucket of each word by itself; −1 for what is not one word, as this module reads it, and nothing else."""
    made = np.full(len(words), -1, np.int64)
    done = 0
    for texts in _blocks(words):
        raw, begins, ends, kind = _laid_out(texts)
        starts, stops = _words(kind)
        owner = np.searchsorted(ends, starts, side="right")
        alone = np.bincount(owner, minlength=len(texts))[owner] == 1
        alone &= stops - starts == (ends - begins - 1)[owner]
        whole, _ = _hashes(raw, begins, ends, starts, stops, owner)
        made[done + owner[alone]] = (_mixed(whole[alone]) >> np.uint64(64 - BITS)).astype(np.int64)
        done += len(texts)
    return made


def text_bytes(text: str) -> bytes:
    """What is looked at of a text: head and tail of a long one. A line break written as \\n is one."""
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    if "\\n" in text:
        text = text.replace("\\n", "\n")
    return text.encode("utf-8", "replace")


def _blocks(texts: Sequence[str]) -> Iterator[list[bytes]]:
    block: list[bytes] = []
    size = 0
    for text in texts:
        one = text_bytes(text)
        block.append(one)
        size += len(one) + 1
        if size >= _BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _block(texts: list[bytes]) -> Gists:
    count = len(texts)
    raw, begins, ends, kind = _laid_out(texts)
    starts, stops = _words(kind)
    owner = np.searchsorted(ends, starts, side="right") if count > 1 else np.zeros(len(starts), np.int64)
    whole, stem = _hashes(raw, begins, ends, starts, stops, owner)
    pairs = owner[1:] == owner[:-1]
    second = _mixed(whole[:-1] * _K1 + whole[1:] * _K2)[pairs]
    long = stops - starts > STEM
    tokens = np.concatenate([_mixed(whole), second, _mixed(stem[long] + _K3)]) >> np.uint64(64 - BITS)
    places = np.concatenate([owner, owner[1:][pairs], owner[long]]).astype(np.uint64)
    keys, counts = _counted((places << np.uint64(BITS)) | tokens)
    own = (keys >> np.uint64(BITS)).astype(np.int64)
    offsets = np.searchsorted(own, np.arange(count + 1))
    words_of = np.bincount(owner, minlength=count)
    distinct = offsets[1:] - offsets[:-1]
    structure = _structure(raw, kind, begins, ends, starts, stops, owner, words_of, distinct)
    return Gists(
        structure,
        offsets,
        (keys & np.uint64((1 << BITS) - 1)).astype(np.uint32),
        np.minimum(counts, 255).astype(np.uint8),
    )


def _laid_out(
    texts: list[bytes],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Texts one behind the other, a line break after each: bytes, where each begins and ends, the kind of each byte."""
    raw = np.frombuffer(b"\n".join(texts) + b"\n", dtype=np.uint8)
    sizes = np.fromiter((len(one) + 1 for one in texts), np.int64, len(texts))
    ends = np.cumsum(sizes)
    return raw, ends - sizes, ends, _KIND[raw]


def _counted(keys: Words) -> tuple[Words, NDArray[np.int64]]:
    """Different keys, ascending, and how often each is there."""
    keys.sort()
    new = np.empty(len(keys) + 1, dtype=bool)
    new[:1] = new[-1:] = True
    np.not_equal(keys[1:], keys[:-1], out=new[1:-1])
    first = np.flatnonzero(new)
    return keys[first[:-1]], first[1:] - first[:-1]


def _words(kind: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where words begin and end; the last byte of a block is a separator."""
    inside = kind != _SEPARATOR
    before = np.empty_like(inside)
    before[0] = False
    before[1:] = inside[:-1]
    new = kind == _CHARACTER
    starts = np.flatnonzero(inside & (~before | new))
    # A word ends where the next byte is none of a word, or begins one of its own.
    after = np.empty_like(inside)
    after[:-1] = inside[1:] & ~new[1:]
    after[-1] = False
    return starts, np.flatnonzero(inside & ~after) + 1


def _hashes(
    raw: NDArray[np.uint8],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    owner: NDArray[np.int64],
) -> tuple[Words, Words]:
    """Hash of each word, and of its first `STEM` bytes."""
    if len(begins) == 1:
        place = _POWERS[: len(raw)]
        first = starts
    else:
        within = np.arange(len(raw)) - np.repeat(begins, ends - begins)
        place = _POWERS[within]
        first = starts - begins[owner]
    running = np.empty(len(raw) + 1, dtype=np.uint64)
    running[0] = 0
    np.cumsum(_VALUE[raw] * place, out=running[1:])
    inverse = _INVERSES[first]
    base = running[starts]
    return (running[stops] - base) * inverse, (running[np.minimum(stops, starts + STEM)] - base) * inverse


def _mixed(words: Words) -> Words:
    words = words ^ (words >> np.uint64(33))
    words = words * np.uint64(0xFF51AFD7ED558CCD)
    words = words ^ (words >> np.uint64(33))
    words = words * np.uint64(0xC4CEB9FE1A85EC53)
    return words ^ (words >> np.uint64(33))


def _structure(
    raw: NDArray[np.uint8],
    kind: NDArray[np.uint8],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    owner: NDArray[np.int64],
    words: NDArray[np.int64],
    distinct: NDArray[np.int64],
) -> NDArray[np.float32]:
    count = len(begins)
    size = (ends - begins - 1).astype(np.float64)
    # Counts of bytes by text: one product with a table of what each byte is.
    if count == 1:
        totals = _CLASSES[raw[:-1]].sum(axis=0, dtype=np.float64)[:, None]
    else:
        text = np.repeat(np.arange(count), ends - begins)
        by_byte = np.bincount(text * 256 + raw, minlength=256 * count).reshape(count, 256)
        by_byte[:, 10] -= 1
        totals = (by_byte @ _CLASSES.astype(np.float64)).T
    numbers = np.bincount(owner[_is_number(raw, starts, stops)], minlength=count)
    # A letter before a bracket or a full stop at the beginning of a line: "A) …", "b. …"; a number there: a list.
    label = (stops - starts == 1) & _AFTER_LABEL[raw[stops]] & ((starts == 0) | (raw[starts - 1] == 10))
    marked = np.flatnonzero(label)
    letter = kind[starts[marked]] == _LETTER
    per_word = np.maximum(words, 1)
    out = np.empty((len(STRUCTURE), count))
    out[0], out[1], out[2] = size, words, numbers
    out[3:_LOGARITHMIC] = totals[: _LOGARITHMIC - 3]
    np.log1p(out[:_LOGARITHMIC], out=out[:_LOGARITHMIC])
    np.divide(totals[_LOGARITHMIC - 3 : _SHARES - 3], np.maximum(size, 1.0), out=out[_LOGARITHMIC:_SHARES])
    out[17] = np.minimum((size - totals[0] - totals[14]) / per_word, 20.0)
    out[18] = totals[15] / per_word
    out[19] = np.minimum(np.bincount(owner[marked[letter]], minlength=count), 12)
    out[20] = np.minimum(np.bincount(owner[marked[~letter]], minlength=count), 12)
    out[21] = raw[np.maximum(ends - 2, 0)] == 63
    out[22] = distinct / (2.0 * per_word)
    return out.T.astype(np.float32)


def _is_number(raw: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
    first, last = raw[starts], raw[stops - 1]
    return (first >= 48) & (first <= 57) & (last >= 48) & (last <= 57)


def _tables() -> tuple[NDArray[np.uint8], Words, NDArray[np.uint8]]:
    kind = np.zeros(256, np.uint8)
    value = np.zeros(256, np.uint64)
    classes = np.zeros((256, 16), np.uint8)
    for byte in range(256):
        char = chr(byte)
        if byte < 128 and char.isalpha():
            kind[byte], value[byte] = _LETTER, ord(char.lower())
        elif byte < 128 and char.isdigit():
            kind[byte], value[byte] = _DIGIT, ord("0")
        elif byte >= 0xE0:
            kind[byte], value[byte] = _CHARACTER, byte
        elif byte >= 0xC0:
            kind[byte], value[byte] = _TWO_BYTE, byte
        elif byte >= 0x80:
            kind[byte], value[byte] = _REST, byte
        ascii_ = byte < 128
        groups = (
            char == "\n", char == "?", char in "=+*/^<>", char in "{};`|", char == "\\", char in "\"'", char == ":",
            char == "_", char.isupper() and ascii_, char.isdigit() and ascii_,
            ascii_ and not char.isalnum() and not char.isspace(), char in "()[]", 0xC0 <= byte < 0xE0, byte >= 0xE0,
            char == " ", char == ",",
        )  # fmt: skip
        classes[byte] = groups
    return kind, value, classes


_KIND, _VALUE, _CLASSES = _tables()
_AFTER_LABEL = np.isin(np.arange(256), [ord(")"), ord("."), ord(":")])
_K1, _K2, _K3 = np.uint64(0x9FB21C651E98DF25), np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F)


def _powers(base: int) -> Words:
    made, value = np.empty(_LONGEST + 2, dtype=np.uint64), 1
    for place in range(len(made)):
        made[place] = value
        value = value * base & _MASK
    return made


_POWERS, _INVERSES = _powers(_BASE), _powers(pow(_BASE, -1, 1 << 64))
