"""Workspaces: what is set counts at once here, soon elsewhere, and nothing that does not fit is set."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from gateway.account import workspaces as known
from gateway.account.workspace_settings import DEFAULTS, Filters, WorkspaceSettings, as_json, parse
from gateway.account.workspaces import Workspaces
from gateway.prompt import Limits
from store import workspaces as stored
from store.database import session
from store.errors import InvalidValue, NoCandidate, SettingsError, StateConflict, UnknownEntity
from store.settings import Settings

KEY = SecretStr(base64.b64encode(b"k" * 32).decode())


def opened(settings: Settings) -> Workspaces:
    made = Workspaces(settings)
    made.start()
    return made


def test_a_workspace_that_nobody_made_has_the_defaults(on_both: Settings) -> None:
    workspaces = opened(on_both)
    assert workspaces.get("anything") is DEFAULTS
    assert workspaces.get("default").keep == "nothing"
    assert workspaces.every() == {"default": DEFAULTS}
    assert stored.organisation_of(on_both, "anything") == "default"
    workspaces.close()


def test_what_is_set_comes_back(on_both: Settings) -> None:
    workspaces = opened(on_both)
    made = workspaces.put(
        "shop",
        {
            "organisation": "acme",
            "keep": "plain",
            "contents_days": 7,
            "calls_days": None,
            "cache": "exact",
            "filters": {"secrets": True, "mode": "refuse"},
            "allowed_models": ["openai/*"],
            "regions": ["eu"],
            "requests_per_minute": 60,
            "limits": {"max_cost": 0.5, "exclude": ["x/y"]},
        },
    )
    assert workspaces.get("shop") == made != DEFAULTS
    assert made.filters == Filters(secrets=True, mode="refuse")
    assert made.limits == Limits(max_cost=0.5, exclude=frozenset({"x/y"}))
    assert stored.organisation_of(on_both, "shop") == "acme"
    assert (made.allows("openai/gpt"), made.allows("other/gpt")) == (True, False)
    elsewhere = opened(on_both)
    assert elsewhere.get("shop") == made
    changed = workspaces.change("shop", {"cache": "off", "filters": {"personal_data": True}, "regions": []})
    assert changed == parse(as_json(made) | {"cache": "off", "regions": []} | {"filters": as_json(changed)["filters"]})
    assert changed.filters == Filters(secrets=True, personal_data=True, mode="refuse")
    elsewhere.refresh()
    assert elsewhere.get("shop") == changed
    assert workspaces.delete("shop") == changed
    assert workspaces.get("shop") is DEFAULTS
    elsewhere.refresh()
    assert elsewhere.get("shop") is DEFAULTS
    with pytest.raises(UnknownEntity):
        workspaces.delete("shop")
    with pytest.raises(StateConflict):
        workspaces.delete("default")
    for one in (workspaces, elsewhere):
        one.close()


def test_others_hear_of_it_by_themselves(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "REFRESH_SECONDS", 0.01)
    here, elsewhere = opened(settings), opened(settings)
    here.put("default", {"keep": "plain"})
    for _ in range(3_000):
        if elsewhere.get("default").keep == "plain":
            break
        elsewhere._closing.wait(0.01)
    assert elsewhere.get("default").keep == "plain"
    here.close()
    elsewhere.close()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"kep": "plain"}, "kep"),
        ({"keep": "all"}, "keep"),
        ({"contents_days": 0}, "contents_days"),
        ({"semantic_threshold": 1.5}, "semantic_threshold"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"filters": {"mode": "delete"}}, "filters.mode"),
        ({"filters": {"secret": True}}, "filters.secret"),
        ({"limits": {"max_costs": 1}}, "limits.max_costs"),
        ({"limits": {"max_cost": -1}}, "limits.max_cost"),
        ({"limits": {"min_quality": float("nan")}}, "limits.min_quality"),
        ({"limits": {"capabilities": ["fly"]}}, "limits.capabilities"),
        ({"organisation": ""}, "organisation"),
    ],
)
def test_what_does_not_fit_is_refused(settings: Settings, values: dict[str, Any], field: str) -> None:
    workspaces = Workspaces(settings)
    with pytest.raises(InvalidValue) as caught:
        workspaces.put("w", values)
    assert caught.value.field == field
    assert field in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "ä", "x" * 129, "a\x00"])
def test_names_of_workspaces(settings: Settings, name: str) -> None:
    with pytest.raises(InvalidValue):
        Workspaces(settings).put(name, {})


def test_encryption_needs_a_key(settings: Settings) -> None:
    with pytest.raises(SettingsError) as caught:
        Workspaces(settings).put("w", {"keep": "encrypted"})
    assert caught.value.field == "MERIT_DATA_KEY"
    with_key = Workspaces(settings.model_copy(update={"data_key": KEY}))
    assert with_key.put("w", {"keep": "encrypted"}).keep == "encrypted"


def test_one_that_is_not_understood_sends_nothing_out(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    workspaces = Workspaces(settings)
    workspaces.put("w", {"keep": "plain"})
    with session(settings) as changed:
        changed.execute(
            sa.text("UPDATE workspaces SET settings = '{\"of_a_later_version\": 1}', updated_at = '2030-01-01'")
        )
    workspaces.refresh()
    assert workspaces.get("w") == WorkspaceSettings(local_only=True)
    assert "not understood" in caplog.text


def test_requests_stay_within_the_workspace() -> None:
    free = Limits()
    assert DEFAULTS.within(free) is free
    strict = parse({"regions": ["eu", "ch"], "limits": {"max_cost": 1, "min_quality": 0.5, "exclude": ["a"]}})
    assert strict.within(free) == Limits(
        max_cost=1, min_quality=0.5, exclude=frozenset({"a"}), regions=frozenset({"eu", "ch"})
    )
    asked = Limits(max_cost=5, regions=frozenset({"eu", "us"}), exclude=frozenset({"b"}))
    assert strict.within(asked) == Limits(
        max_cost=5, min_quality=0.5, exclude=frozenset({"a", "b"}), regions=frozenset({"eu"})
    )
    with pytest.raises(NoCandidate, match="ch, eu"):
        strict.within(Limits(regions=frozenset({"us"})))
    assert parse({"local_only": True}).within(free).local_only
    assert parse({"limits": {"regions": ["us"]}}).within(Limits(regions=frozenset({"eu"}))).regions == {"eu"}
