"""`GET /v1/llm/policy`: what the gateway believes of its models, and why that has changed."""

from __future__ import annotations

import time
from typing import Any

from store import ledger
from tests.integration.serving_llm.conftest import Api


def shown(api: Api) -> Any:
    return api.get("analyst", "/v1/llm/policy")


def test_what_is_believed_is_told_with_the_policy_and_the_scorer(api: Api) -> None:
    before = shown(api)["scorer"]["scored"]
    api.chat("application@north", "Explain heat pumps in old houses in about 40 words. Mention running costs.")
    deadline = time.monotonic() + 60
    while (told := shown(api))["scorer"]["scored"] == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told["policy"] == "priors"
    assert told["exploration"] == {"share": 0.02, "dearer": 3.0}
    assert (told["scorer"]["name"], told["scorer"]["scored"]) == ("words v2", before + 1)
    assert told["scorer"]["refused"] is None
    assert told["judge"] is None
    belief = next(one for one in told["models"] if one["model"] == "simulated/small")
    assert (belief["share"], belief["held_down_by"], belief["drop"]) == (1.0, {}, 0.0)
    assert belief["scores"] >= 1


def test_a_shift_is_shown_with_its_rule_and_its_evidence(api: Api) -> None:
    opened: Any = api.client.app.state.services.llm.opened  # type: ignore[attr-defined]
    adaptation = opened.improvement.adaptation
    for _ in range(40):
        adaptation.paid("simulated/vision", 2_500.0, 1_000.0)
    api.client.portal.call(opened.improvement.adapt)  # type: ignore[union-attr]
    told = shown(api)
    first = next(one for one in told["shifts"] if one["model"] == "simulated/vision")
    assert (first["rule"], first["before"], first["after"]) == ("cost", 1.0, 0.7)
    assert first["evidence"]["dearer"] == 2.5
    assert first["at"].endswith("Z")
    assert "2.5 times" in first["why"]
    assert "cost" in next(one for one in told["models"] if one["model"] == "simulated/vision")["held_down_by"]


def test_who_changed_the_policy_and_why_is_told(api: Api) -> None:
    ledger.append(
        api.settings, model="quality", kind="promotion", state="refused", from_version=None, to_version=3, actor="kim",
        reason="not better than baseline heuristic beyond chance", detail=None, report=None, artifact_sha256=None,
        dataset_digest=None, run_id=None, key=None,
    )  # fmt: skip
    change = shown(api)["changes"][0]
    assert (change["model"], change["state"], change["to_version"], change["actor"]) == ("quality", "refused", 3, "kim")
    assert change["why"].startswith("not better")
    assert len(api.get("analyst", "/v1/llm/policy?limit=1")["changes"]) == 1
