"""Answers that are given again: never those of another configuration, of laxer filters, or of somebody who was erased;
and ensembles whose last member does not come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

ASK = "What is the capital of France?"
POLITE = "Please tell me what is the capital of France."


def cached(asker: Any, text: str = ASK, **fields: Any) -> str:
    """What the gateway says of its cache."""
    answer = asker.chat(text, **fields)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-merit-cache"])


@pytest.mark.parametrize(
    "change",
    [
        {"filters": {"secrets": True}},
        {"filters": {"personal_data": True, "mode": "refuse"}},
        {"keep": "nothing"},
        {"allowed_models": ["simulated/*"]},
    ],
    ids=str,
)
def test_a_workspace_that_changes_its_mind_gets_no_old_answers(
    change: dict[str, Any], gateway: Any, simulator: Any
) -> None:
    asker = gateway.asker(keep="plain", cache="exact")
    assert [cached(asker), cached(asker)] == ["miss", "exact"]
    gateway.told(gateway.admin.patch(f"/v1/workspaces/{asker.workspace}", json=change))
    assert [cached(asker), cached(asker)] == ["miss", "exact"]
    assert simulator.bill()["count"] == 2


def test_what_was_kept_under_another_choice_is_not_kept_on(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker(keep="plain", cache="exact")
    before = gateway.metric("merit_llm_cache_entries")
    for number in range(3):
        cached(asker, f"What is 17 * {number}?")
    assert gateway.metric("merit_llm_cache_entries") == before + 3
    gateway.told(gateway.admin.patch(f"/v1/workspaces/{asker.workspace}", json={"explore": False}))
    assert gateway.metric("merit_llm_cache_entries") == before + 3
    gateway.told(gateway.admin.patch(f"/v1/workspaces/{asker.workspace}", json={"keep": "nothing"}))
    assert gateway.metric("merit_llm_cache_entries") == before
    cached(asker)
    gateway.told(gateway.admin.delete(f"/v1/workspaces/{asker.workspace}"))
    assert gateway.metric("merit_llm_cache_entries") == before


def test_another_configuration_gives_no_old_answers(
    gateway: Any, simulator: Any, providers_toml: Callable[..., str]
) -> None:
    asker = gateway.asker(cache="semantic")
    assert [cached(asker), cached(asker), cached(asker, POLITE)] == ["miss", "exact", "semantic"]
    text = providers_toml().replace('[models."simulated/small"]', '[models."simulated/small"]\nlatency_ms = 201')
    try:
        gateway.configure(text)
        assert cached(asker, POLITE) == "miss"
        assert cached(asker) == "semantic"
    finally:
        gateway.configure(providers_toml())
    assert simulator.bill()["count"] == 2


def test_who_is_erased_left_no_question_behind(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker(keep="plain", cache="semantic")
    assert [cached(asker, user="ada"), cached(asker, POLITE, user="ben")] == ["miss", "semantic"]
    erased = gateway.told(gateway.admin.delete(f"/v1/workspaces/{asker.workspace}/people/ada"))
    assert erased["cached"] == 1
    assert cached(asker, POLITE, user="ben") == "miss"


def test_an_ensemble_does_not_wait_for_who_does_not_come(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    budget = gateway.budget(asker, 1.0)
    simulator.fault("hang", model="simulated/coder")
    told = asker.answer(ASK, model="ensemble/jury", max_tokens=60)["merit"]
    # The provider itself would be given twenty seconds.
    assert told["ensemble"]["failed"] == ["simulated/coder"]
    members = {line["model"]: line for line in gateway.runs(asker.workspace, parent=told["id"])}
    assert len(members) == 3
    late = members["simulated/coder"]
    assert (late["outcome"], late["error"]) == ("cancelled", "cut_off")
    assert late["latency_ms"] < 15_000
    assert gateway.standing(budget)["reserved"] == 0
    assert round(gateway.standing(budget)["spent"] * 1e9) == gateway.spent(asker.workspace)
