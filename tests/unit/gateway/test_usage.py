"""What several calls used together."""

from __future__ import annotations

from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from gateway.usage import Usage

COUNT = st.integers(0, 1_000)
USAGES = st.builds(Usage, *[COUNT] * 7, estimated=st.booleans(), cache_write_hour=COUNT)


@given(parts=st.lists(USAGES, max_size=5))
def test_every_kind_of_token_is_added_up_and_none_left_out(parts: list[Usage]) -> None:
    together = Usage.together(parts)
    sums = [sum(column) for column in zip(*map(astuple, parts), strict=True)] or [0] * len(astuple(Usage()))
    assert [int(one) for one in astuple(together)[:7]] == sums[:7]
    assert together.cache_write_hour == sum(one.cache_write_hour for one in parts)
    assert together.estimated is any(one.estimated for one in parts)
    assert together.total == sum(one.total for one in parts)
