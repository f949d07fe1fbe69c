"""A budget holds, whoever asks for what on which route and however many at once; what was spent is the provider's own
bill to the nano, and nothing stays reserved."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

SAID = [{"role": "user", "content": "What is 17 * 23? Show how you get there."}]
CHAT = {"model": "simulated/medium", "messages": SAID, "max_tokens": 100}
# One request on each route that spends money.
ROUTES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "stream": ("/v1/chat/completions", {**CHAT, "stream": True}),
    "retries": ("/v1/chat/completions", {**CHAT, "model": "auto", "merit": {"exclude": ["simulated-local"]}}),
    "ensemble": ("/v1/chat/completions", {**CHAT, "model": "ensemble/jury"}),
    "messages": ("/v1/messages", {**CHAT, "model": "claude/small"}),
    "messages stream": ("/v1/messages", {**CHAT, "stream": True}),
    "embeddings": ("/v1/embeddings", {"model": "simulated/embed", "input": ["a river and its sea " * 150] * 20}),
}


def storm(asker: Any, requests: list[tuple[str, dict[str, Any]]]) -> list[httpx.Response]:
    """All requests at once."""

    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        headers = {"Authorization": f"Bearer {asker.secret}"}
        async with httpx.AsyncClient(base_url=asker.api.base_url, headers=headers, timeout=60, limits=limits) as api:
            return await asyncio.gather(*(api.post(path, json=body) for path, body in requests))

    return asyncio.run(ask())


def test_of_200_calls_at_once_no_more_pass_than_the_budget_pays_for(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    first = gateway.run(asker.answer(**CHAT)["merit"]["id"])
    reserved, paid = first["reserved"], first["cost"]
    assert paid < reserved
    # Room for the one above and for twenty at the longest answer that they may give.
    budget = gateway.budget(asker, paid + 20 * reserved)
    simulator.speed(2)
    answers = storm(asker, [ROUTES["chat"]] * 200)
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 402}
    # At least those that fit at the same time; more only as far as the money reaches.
    assert 20 <= statuses[200] <= int(20 * reserved / paid)
    standing = gateway.standing(budget)
    assert standing["reserved"] == 0
    assert standing["spent"] <= standing["amount"]
    assert round(standing["spent"] * 1e9) == gateway.spent(asker.workspace) == simulator.spent()
    assert simulator.bill()["count"] == statuses[200] + 1
    # What is left is given, and nothing beyond.
    simulator.speed(0)
    while (answer := asker.chat(**CHAT)).status_code == 200:
        pass
    assert answer.status_code == 402
    left = gateway.standing(budget)["remaining"]
    assert 0 <= left < reserved


def test_every_route_spends_of_the_same_budget(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    # All 175 calls cost 0.013 (one after another, by the simulator's bill): half of them, however few are under way at
    # once, are more than this pays for.
    budget = gateway.budget(asker, 0.006)
    simulator.speed(20)
    simulator.fault("status", status=500, probability=0.1)
    answers = storm(asker, list(ROUTES.values()) * 25)
    statuses: dict[str, Counter[int]] = {route: Counter() for route in ROUTES}
    for place, answer in enumerate(answers):
        statuses[list(ROUTES)[place % len(ROUTES)]][answer.status_code] += 1
    for route, found in statuses.items():
        # 409: an ensemble whose members did not agree; 502: a failure and no other model.
        assert set(found) <= {200, 402, 409, 502}, route
        assert found[200], route
    assert sum(found[402] for found in statuses.values()) > len(answers) / 4
    standing = gateway.standing(budget)
    assert standing["reserved"] == 0
    assert 0 < standing["spent"] <= standing["amount"]
    assert round(standing["spent"] * 1e9) == gateway.spent(asker.workspace) == simulator.spent()
    # The ledger tells how it was spent, and the members of ensembles are counted once.
    rows = gateway.told(gateway.admin.get("/v1/usage", params={"by": "kind,model", "workspace": asker.workspace}))
    assert {(row["kind"], row["model"]) for row in rows["rows"] if row["cost"]} >= {
        ("embeddings", "simulated/embed"), ("chat", "claude/small"), ("chat", "simulated/coder"),
    }  # fmt: skip
    assert sum(round(row["cost"] * 1e9) for row in rows["rows"]) == simulator.spent()


@pytest.mark.parametrize("route", ROUTES)
def test_a_budget_that_is_used_up_refuses_on_every_route(route: str, gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    gateway.budget(asker, 1e-9)
    path, body = ROUTES[route]
    answer = asker.api.post(path, json=body)
    assert answer.status_code == 402, answer.text
    told = answer.json()
    assert told["error"]["code"] == "budget_exceeded"
    assert told["type"] == ("error" if path == "/v1/messages" else "urn:merit:problem:budget-exceeded")
    assert asker.workspace in told["detail"]
    assert answer.headers["x-should-retry"] == "false"
    assert simulator.bill()["count"] == 0
    (line,) = gateway.settled(asker.workspace, 1)
    assert (line["outcome"], line["cost"]) == ("refused", 0)


def test_a_budget_that_downgrades_takes_the_cheapest_that_fits_the_limits(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    ask = {"model": "simulated/large", "messages": SAID, "max_tokens": 100}
    limits = {"fallbacks": True, "capabilities": ["tools"], "exclude": ["simulated-local", "claude", "gemini"]}
    # A hundred tokens of `large` are 1,500,000 nanos, of `small`, the cheapest with tools, 60,000.
    budget = gateway.budget(asker, 0.0005, action="downgrade")
    answers = storm(asker, [("/v1/chat/completions", {**ask, "merit": limits})] * 30)
    served = [answer.json()["merit"] for answer in answers if answer.status_code == 200]
    assert served
    assert {one["model"] for one in served} == {"simulated/small"}
    assert all("simulated/small answers instead of simulated/large" in one["downgraded"] for one in served)
    standing = gateway.standing(budget)
    assert standing["reserved"] == 0
    assert standing["spent"] <= standing["amount"]
    assert round(standing["spent"] * 1e9) == simulator.spent()


def test_an_ensemble_leaves_out_members_that_do_not_fit(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    path, body = ROUTES["ensemble"]
    # 100 tokens each: small 60,000 nanos, medium 320,000, coder 200,000; together with the prompt too much for all.
    gateway.budget(asker, 0.00055)
    answer = asker.api.post(path, json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()["merit"]
    assert len(told["left_out"]) == 1
    assert sum(len(vote["models"]) for vote in told["ensemble"]["votes"]) == 2
    assert gateway.spent(asker.workspace) == simulator.spent()


def test_each_user_has_a_budget_of_their_own(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    cost = asker.answer(**CHAT, user="nobody")["merit"]["cost"]
    body = {"scope": "user", "subject": "", "workspace": asker.workspace, "amount": 40 * cost, "period": "day"}
    budget = gateway.told(gateway.admin.post("/v1/budgets", json=body))["id"]
    people = ["ada", "ben", "cleo"]
    answers = storm(asker, [(ROUTES["chat"][0], {**CHAT, "user": person}) for person in people * 40])
    assert {answer.status_code for answer in answers} == {200, 402}
    found = {one["counted"]: one for one in gateway.told(gateway.admin.get(f"/v1/budgets/{budget}"))["budgets"]}
    assert set(people) <= set(found)
    for person in people:
        assert found[person]["reserved"] == 0
        assert 0 < found[person]["spent"] <= found[person]["amount"]
    assert gateway.spent(asker.workspace) == simulator.spent()
