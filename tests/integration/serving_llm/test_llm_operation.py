"""What an operator does to a running gateway, by the API and by the command: drain, reset, probe, reload."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import pytest

from store.settings import Settings
from tests.integration.serving_llm.conftest import Api, Run

HELLO = [{"role": "user", "content": "Hello"}]
SHIPPED = (files("gateway") / "providers.toml").read_text(encoding="utf-8")


def named(alias: str) -> str:
    """The configuration that comes with the package, with another name for a model."""
    return f'{SHIPPED}\n[aliases]\n{alias} = "simulated/small"\n'


@pytest.fixture(scope="module")
def mine(make_home: Callable[..., Settings], run: Run, simulator_process: Any) -> Iterator[Api]:
    """An open API of this module's own, which looks at its configuration when it is told to."""
    simulator_process.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.opening.RELOAD_SECONDS", 3600.0)
        with run(make_home()) as made:
            yield made


def actions(api: Api, action: str) -> list[tuple[str, str]]:
    lines = api.get(None, "/v1/audit", params={"action": action})["lines"]
    return [(line["action"], line["subject"]) for line in lines]


def ask(api: Api, model: str) -> int:
    return api.ask(None, "POST", "/v1/chat/completions", json={"model": model, "messages": HELLO}).status_code


def test_a_drained_model_gets_no_call_until_it_is_let_in(mine: Api) -> None:
    told = mine.post(None, "/v1/llm/models/simulated/small/drain", None)
    assert told["breaker"]["drained"] is True
    assert told["unavailable"] == "drained by an operator"
    assert ask(mine, "simulated/small") == 503
    assert ask(mine, "simulated/medium") == 200
    told = mine.post(None, "/v1/llm/models/simulated/small/undrain", None)
    assert told["unavailable"] is None
    assert ask(mine, "simulated/small") == 200
    assert actions(mine, "model.") == [("model.undrain", "simulated/small"), ("model.drain", "simulated/small")]


def test_a_drained_provider_takes_its_models_along(mine: Api) -> None:
    assert mine.post(None, "/v1/llm/providers/simulated/drain", None)["drained"] is True
    assert ask(mine, "simulated/medium") == 503
    assert ask(mine, "simulated-local/small") == 200
    assert mine.post(None, "/v1/llm/providers/simulated/undrain", None)["drained"] is False
    assert ask(mine, "simulated/medium") == 200
    lines = mine.get(None, "/v1/audit", params={"action": "provider.drain"})["lines"]
    assert (lines[0]["subject"], lines[0]["before"]["drained"], lines[0]["after"]["drained"]) == (
        "simulated",
        False,
        True,
    )


def test_a_circuit_is_closed_by_hand(mine: Api, simulator_process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = time.monotonic()
    breakers = mine.client.app.state.services.gateway.parts.breakers  # type: ignore[attr-defined]
    monkeypatch.setattr(breakers, "clock", lambda: moment)  # it is not open for so long that it is tried again
    simulator_process.fault("status", status=500, calls=50, model="simulated/large")
    for _ in range(9):
        ask(mine, "simulated/large")
    simulator_process.reset()

    def state() -> str:
        models = mine.get(None, "/v1/llm/health")["models"]
        return str(next(one["breaker"]["state"] for one in models if one["model"] == "simulated/large"))

    assert state() == "open"
    assert ask(mine, "simulated/large") == 503
    mine.post(None, "/v1/llm/models/simulated/large/reset", None)
    assert state() == "closed"
    assert ask(mine, "simulated/large") == 200
    mine.post(None, "/v1/llm/providers/simulated/reset", None)


def test_a_provider_is_probed_now(mine: Api) -> None:
    told = mine.post(None, "/v1/llm/providers/simulated/probe", None)
    assert (told["provider"], told["ok"], told["failures"]) == ("simulated", True, 0)
    shown = {one["name"]: one for one in mine.get(None, "/v1/llm/providers")["providers"]}
    assert shown["simulated"]["probe"]["ok"] is True


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("providers/nobody/drain", "provider"),
        ("providers/nobody/probe", "provider"),
        ("models/nobody/none/reset", "model"),
        ("models/simulated/drain", "model"),
    ],
)
def test_what_is_not_configured_is_told(mine: Api, path: str, field: str) -> None:
    answer = mine.ask(None, "POST", f"/v1/llm/{path}")
    assert (answer.status_code, answer.json()["field"]) == (404, field)


def test_a_changed_configuration_counts_at_once(mine: Api) -> None:
    file = mine.settings.root / "providers.toml"
    file.write_text(named("quick"))
    told = mine.post(None, "/v1/llm/reload", None)
    assert (told["changed"], told["source"]) == (True, str(file))
    assert ask(mine, "quick") == 200
    assert mine.post(None, "/v1/llm/reload", None)["changed"] is False
    assert len(actions(mine, "gateway.reload")) == 1


def test_a_wrong_configuration_is_refused_with_every_error(mine: Api) -> None:
    file = mine.settings.root / "providers.toml"
    file.write_text(named("quick"))
    mine.ask(None, "POST", "/v1/llm/reload")
    file.write_text('[providers.openai]\ntimout_s = 3\nkey_env = "sk-planted in the wrong place"\n')
    answer = mine.ask(None, "POST", "/v1/llm/reload")
    assert answer.status_code == 409
    assert {one["field"] for one in answer.json()["errors"]} == {
        "providers.openai.timout_s",
        "providers.openai.key_env",
    }
    assert "sk-planted" not in answer.text
    assert ask(mine, "quick") == 200
    assert mine.get(None, "/v1/llm/providers")["error"]
    checks = {one["name"]: one for one in mine.ask(None, "GET", "/readyz").json()["checks"]}
    assert checks["llm configuration"]["ok"] is False
    assert checks["llm configuration"]["required"] is False
    assert str(file) not in str(checks)
    file.write_text(named("swift"))
    assert mine.post(None, "/v1/llm/reload", None)["changed"] is True
    assert ask(mine, "swift") == 200


def test_a_gateway_that_a_wrong_configuration_kept_closed_is_opened(
    make_home: Callable[..., Settings], run: Run
) -> None:
    settings = make_home()
    file = settings.root / "providers.toml"
    file.write_text("[providers.simulated]\nkind = 7\n")
    with run(settings) as api:
        assert ask(api, "simulated/small") == 503
        assert api.ask(None, "POST", "/v1/llm/reload").status_code == 409
        ready = api.ask(None, "GET", "/readyz", params={"gateway": True})
        assert ready.status_code == 503
        assert {one["name"]: one["ok"] for one in ready.json()["checks"]}["llm gateway"] is False
        assert str(settings.root) not in ready.text
        file.write_text(SHIPPED)
        assert api.post(None, "/v1/llm/reload", None)["changed"] is True
        assert ask(api, "simulated/small") == 200
        assert api.ask(None, "GET", "/readyz", params={"gateway": True}).status_code == 200
