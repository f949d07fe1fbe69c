"""Feedback on answers, and what is learned of a user's likings."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.serving_llm.conftest import Api


@pytest.mark.parametrize(
    ("opinion", "source", "score"),
    [
        ({"thumb": "up"}, "thumb", 1.0),
        ({"thumb": "down", "comment": "Wrong."}, "thumb", 0.0),
        ({"stars": 1}, "stars", 0.0),
        ({"stars": 4}, "stars", 0.75),
        ({"score": 0.3}, "score", 0.3),
    ],
)
def test_an_opinion_is_kept_and_learned(api: Api, opinion: dict[str, Any], source: str, score: float) -> None:
    user = api.name("judge")
    call = api.chat("application@north", user=user)
    made = api.post("application@north", "/v1/llm/feedback", {"call": call, **opinion})
    assert (made["source"], made["score"], made["user"]) == (source, score, user)
    assert made["comment"] == opinion.get("comment")
    assert made["reported_by"] == "application@north"
    detail = api.get("application@north", f"/v1/llm/runs/{call}")
    assert [one["id"] for one in detail["feedback"]] == [made["id"]]
    liked = api.get("application@north", f"/v1/llm/preferences/{user}")["models"]
    assert [one["model"] for one in liked] == ["simulated/small"]
    # One answer does not make a rule: half of the weight is indifference.
    assert liked[0]["liking"] == pytest.approx((score + 2) / 5, abs=1e-3)
    assert set(liked[0]["domains"]) == {"math"}


def test_an_edit_counts_by_what_was_kept(api: Api) -> None:
    user = api.name("editor")
    call = api.chat("application@north", user=user)
    answer = api.get("application@north", f"/v1/llm/runs/{call}")["words"]["answer"]["choices"][0]["message"]["content"]
    kept = api.post("application@north", "/v1/llm/feedback", {"call": call, "edit": answer})
    assert (kept["source"], kept["score"]) == ("edit", 1.0)
    changed = api.post("application@north", "/v1/llm/feedback", {"call": call, "edit": "Something else entirely"})
    assert changed["score"] < 0.3


def test_an_edit_of_an_answer_that_nobody_kept_needs_the_answer(api: Api) -> None:
    name = api.name("quiet")
    api.secrets[name] = api.post("admin", "/v1/keys", {"name": name, "role": "application", "workspace": name})[
        "secret"
    ]
    call = api.chat(name)
    answer = api.ask(name, "POST", "/v1/llm/feedback", json={"call": call, "edit": "391"})
    assert (answer.status_code, answer.json()["field"]) == (422, "answer")
    made = api.post(name, "/v1/llm/feedback", {"call": call, "edit": "It is 391", "answer": "It is 391"})
    assert made["score"] == 1.0


@pytest.mark.parametrize(
    ("opinion", "field"),
    [
        ({}, "thumb"),
        ({"thumb": "up", "stars": 5}, "stars"),
        ({"stars": 6}, "stars"),
        ({"score": 1.1}, "score"),
        ({"thumb": "sideways"}, "thumb"),
        ({"thumb": "up", "comment": "x" * 2_001}, "comment"),
        ({"thumb": "up", "mood": "good"}, "mood"),
    ],
)
def test_what_is_no_opinion_is_told(api: Api, opinion: dict[str, Any], field: str) -> None:
    call = api.chat("application@north")
    answer = api.ask("application@north", "POST", "/v1/llm/feedback", json={"call": call, **opinion})
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_call_without_an_answer_is_not_judged(api: Api, simulator_process: Any) -> None:
    simulator_process.fault("status", status=400, calls=1, model="simulated/small")
    body = {"model": "simulated/small", "messages": [{"role": "user", "content": "Hello"}]}
    assert api.ask("application@north", "POST", "/v1/chat/completions", json=body).status_code == 400
    call = api.get("application@north", "/v1/llm/runs?outcome=failed&limit=1")["runs"][0]["id"]
    answer = api.ask("application@north", "POST", "/v1/llm/feedback", json={"call": call, "thumb": "up"})
    assert answer.status_code == 409


def test_feedback_is_listed_in_pages_and_filtered(api: Api) -> None:
    user = api.name("talker")
    call = api.chat("application@south", user=user)
    given = [api.post("application@south", "/v1/llm/feedback", {"call": call, "stars": n})["id"] for n in (1, 3, 5)]
    first = api.get("application@south", "/v1/llm/feedback", params={"user": user, "limit": 2})
    second = api.get("application@south", "/v1/llm/feedback", params={"user": user, "cursor": first["next_cursor"]})
    assert [one["id"] for one in (*first["feedback"], *second["feedback"])] == given[::-1]
    assert second["next_cursor"] is None
    assert len(api.get("admin@south", "/v1/llm/feedback", params={"call": call})["feedback"]) == 3
    assert api.get("admin@south", "/v1/llm/feedback", params={"call": call, "source": "edit"})["feedback"] == []
    # What another key reported is not an application's to see.
    reported = api.chat("application@north", user=user)
    api.post("application@north", "/v1/llm/feedback", {"call": reported, "thumb": "up"})
    assert api.get("other@north", "/v1/llm/feedback", params={"user": user})["feedback"] == []


def test_preferences_are_said_read_and_forgotten(api: Api) -> None:
    who, user = "application@north", api.name("ada")
    place = f"/v1/llm/preferences/{user}"
    assert api.get(who, place) == {"workspace": "north", "user": user, "tradeoff": 0.5, "models": []}
    said = {"said": {"simulated/large": 1.0, "simulated/nano": 0.1}, "tradeoff": 0.2}
    told = api.told(api.ask(who, "PUT", place, json=said))
    assert [(one["model"], one["said"]) for one in told["models"]] == [
        ("simulated/large", 1.0),
        ("simulated/nano", 0.1),
    ]
    assert told["tradeoff"] == 0.2
    body = {"model": "preferred", "messages": [{"role": "user", "content": "Tell me of rivers."}], "user": user}
    assert api.post(who, "/v1/llm/route", body)["model"] == "simulated/large"
    told = api.told(api.ask(who, "PUT", place, json={"said": {"simulated/nano": None}}))
    assert [one["model"] for one in told["models"]] == ["simulated/large"]
    assert api.told(api.ask(who, "DELETE", place)) == {"erased": True}
    assert api.told(api.ask(who, "DELETE", place)) == {"erased": False}
    assert api.get(who, place)["models"] == []


def test_a_user_is_another_one_in_each_workspace(api: Api) -> None:
    user = api.name("twin")
    for workspace, tradeoff in (("north", 0.1), ("south", 0.9)):
        api.told(api.ask(f"application@{workspace}", "PUT", f"/v1/llm/preferences/{user}", json={"tradeoff": tradeoff}))
    assert api.get("application@north", f"/v1/llm/preferences/{user}")["tradeoff"] == 0.1
    assert api.get("admin", f"/v1/llm/preferences/{user}?workspace=south")["tradeoff"] == 0.9
    assert api.get("admin", f"/v1/llm/preferences/{user}")["tradeoff"] == 0.5


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"said": {"a": 2}}, "said.a"),
        ({"tradeoff": -1}, "tradeoff"),
        ({"said": {"": 0.5}}, "said."),
        ({"liked": {}}, "liked"),
    ],
)
def test_what_is_no_preference_is_told(api: Api, body: dict[str, Any], field: str) -> None:
    answer = api.ask("application@north", "PUT", "/v1/llm/preferences/ada", json=body)
    assert answer.status_code == 422
    assert answer.json()["field"].startswith(field)
