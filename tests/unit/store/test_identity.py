from __future__ import annotations

import uuid

from store.tables.base import new_id


def test_ids_sort_by_time_and_never_repeat() -> None:
    made = [new_id() for _ in range(5000)]
    assert len(set(made)) == len(made)
    assert {len(one) for one in made} == {32}
    # In order by their time part; two within a quarter of a microsecond may swap.
    assert [one[:16] for one in made] == sorted(one[:16] for one in made)
    assert uuid.UUID(made[0]).version == 7
