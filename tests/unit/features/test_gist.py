"""Gists: the same for a text whatever comes with it, and little that a text can do to them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.gist import BITS, HEAD, STRUCTURE, TAIL, Gists, gists, unpacked

PLACE = {name: number for number, name in enumerate(STRUCTURE)}


def buckets(found: Gists, row: int = 0) -> list[int]:
    return found.buckets[found.starts[row] : found.starts[row + 1]].tolist()


def structure(text: str, name: str) -> float:
    return float(gists([text]).structure[0, PLACE[name]])


@given(st.lists(st.text(max_size=120), min_size=1, max_size=8))
def test_a_text_has_the_same_gist_alone_and_among_others(texts: list[str]) -> None:
    together = gists(texts)
    for row, text in enumerate(texts):
        alone = gists([text])
        assert buckets(together, row) == buckets(alone)
        assert np.array_equal(together.structure[row], alone.structure[0])
        assert np.array_equal(together.counts[together.starts[row] : together.starts[row + 1]], alone.counts)


@given(st.lists(st.text(max_size=60), max_size=5))
def test_what_was_packed_comes_back(texts: list[str]) -> None:
    found = gists(texts)
    again = unpacked(found.packed(), found.packed_structure())
    assert np.array_equal(found.buckets, again.buckets)
    assert np.array_equal(found.counts, again.counts)
    assert np.array_equal(found.structure, again.structure)
    assert np.array_equal(found.starts, again.starts)


def test_capitals_digits_and_punctuation_do_not_change_words() -> None:
    assert buckets(gists(["Add 12 apples, please!"])) == buckets(gists(["add 97 APPLES please"]))
    assert buckets(gists(["add apples"])) != buckets(gists(["apples add"]))


def test_words_share_a_bucket_by_their_beginning() -> None:
    one, other = set(buckets(gists(["translations"]))), set(buckets(gists(["translating"])))
    assert len(one & other) == 1
    assert not set(buckets(gists(["house"]))) & set(buckets(gists(["mouse"])))


def test_characters_of_scripts_without_spaces_are_words() -> None:
    whole, part = set(buckets(gists(["电费账单"]))), set(buckets(gists(["账单"])))
    assert part < whole


def test_a_long_text_is_looked_at_at_both_ends() -> None:
    middle = "x" * 50_000
    begin, end = "alpha " * (HEAD // 6), " omega" * (TAIL // 6)
    assert buckets(gists([begin + middle + end])) == buckets(gists([begin + middle + middle + end]))
    assert (gists([begin + middle + end]).buckets < 1 << BITS).all()


def test_structure_tells_options_lists_and_questions() -> None:
    asked = "Which one?\nA) red\nB) blue\nC) green"
    assert structure(asked, "options") == 3.0
    assert structure("1. first\n2. second", "list") == 2.0
    assert structure("What is it?", "last_question") == 1.0
    assert structure(asked, "last_question") == 0.0
    assert structure("line\\nline", "lines") == structure("line\nline", "lines") > 0
    assert structure("", "length") == 0.0


def test_halves_of_characters_are_no_obstacle() -> None:
    assert len(gists(["\ud800 half"])) == 1
    assert len(gists([])) == 0
