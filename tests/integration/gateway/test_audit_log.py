"""The audit log: who changed what, without secrets."""

from __future__ import annotations

from datetime import timedelta

import pytest

from store import audit
from store.errors import InvalidValue
from store.settings import Settings
from store.tables.base import utc_now


def test_lines_come_back_newest_first(on_both: Settings) -> None:
    began = utc_now()
    for number in range(7):
        audit.write(on_both, "ann", "admin", "w", "budget.change", f"b{number}", {"amount": number}, None, "r1")
    audit.write(on_both, "bob", "admin", None, "key.create", "k1", None, {"name": "k1"})
    seen, cursor = [], None
    while True:
        page = audit.entries(on_both, workspace="w", limit=3, cursor=cursor)
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [one.subject for one in seen] == [f"b{number}" for number in range(6, -1, -1)]
    assert (seen[0].actor, seen[0].role, seen[0].before, seen[0].after) == ("ann", "admin", {"amount": 6}, None)
    assert [one.subject for one in audit.entries(on_both, action="key.").items] == ["k1"]
    assert [one.subject for one in audit.entries(on_both, action="key").items] == []
    assert [one.subject for one in audit.entries(on_both, subject="b3", actor="ann").items] == ["b3"]
    assert len(audit.entries(on_both, since=began, until=utc_now() + timedelta(seconds=1)).items) == 8
    assert audit.entries(on_both, until=began).items == ()
    with pytest.raises(InvalidValue, match="cursor"):
        audit.entries(on_both, cursor="1; DROP")


def test_secrets_are_not_kept(on_both: Settings) -> None:
    entry = audit.write(
        on_both,
        "ann\x00",
        "admin",
        "w",
        "provider.change",
        after={
            "api_key": "sk-abc",
            "clientSecret": {"value": "abc"},
            "nested": [{"Password": "abc", "token": "abc"}],
            "headers": {"Authorization": "abc", "X-Api-Key": "abc"},
            "key_id": "k1",
            "key_env": "OPENAI_API_KEY",
            "tokens_per_minute": 5,
            "max_tokens": 100,
            "keys": None,
            "monkey": "banana",
        },
    )
    (kept,) = audit.entries(on_both).items
    assert kept == entry
    assert kept.after == {
        "api_key": "[redacted]",
        "clientSecret": "[redacted]",
        "nested": [{"Password": "[redacted]", "token": "[redacted]"}],
        "headers": {"Authorization": "[redacted]", "X-Api-Key": "[redacted]"},
        "key_id": "k1",
        "key_env": "OPENAI_API_KEY",
        "tokens_per_minute": 5,
        "max_tokens": 100,
        "keys": None,
        "monkey": "banana",
    }
