"""The commands of the gateway against a running one: what an operator and a user type, and what it does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from store.settings import Settings

SHIPPED = (files("gateway") / "providers.toml").read_text(encoding="utf-8")


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Merit = Callable[..., Ran]


@pytest.fixture(scope="module")
def home(make_home: Callable[..., Settings]) -> Settings:
    return make_home()


@pytest.fixture(scope="module")
def url(home: Settings, api_process: Any, simulator_process: Any, tmp_path_factory: Any) -> Iterator[str]:
    """Address of a gateway in a process of its own."""
    simulator_process.reset()
    log: Path = tmp_path_factory.mktemp("commands") / "api.log"
    port = str(simulator_process.port)
    running = api_process(home, log, app="serving.gateway_app", MERIT_SIMULATOR_PORT=port)
    try:
        running.wait("/healthz")
        yield running.url
    finally:
        running.stop()


@pytest.fixture
def merit(url: str, home: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Merit:
    """`merit("gateway", "health")` asks the running gateway."""
    monkeypatch.setenv("MERIT_HOME", str(home.home))
    monkeypatch.setattr("cli.output.screen._width", 250)
    monkeypatch.setattr("cli.output.errors._width", 250)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["merit", *arguments, "--url", url])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err)

    return run


def ask(merit: Merit, model: str = "simulated/small") -> Ran:
    return merit("chat", "What is 17 * 23?", "--model", model, "--json")


def test_a_model_is_drained_and_let_in_again(merit: Merit) -> None:
    done = merit("gateway", "drain", "simulated/small")
    assert done.code == 0
    assert "gets no new calls" in done.out
    refused = ask(merit)
    assert refused.code != 0
    assert "drained by an operator" in refused.err
    assert "drained by an operator" in merit("gateway", "health").out
    assert "gets calls again." in merit("gateway", "undrain", "simulated/small").out
    assert ask(merit).code == 0


def test_a_provider_is_drained_and_reset_keeps_it_so(merit: Merit) -> None:
    merit("gateway", "drain", "simulated")
    told = merit("gateway", "reset", "simulated")
    assert "but: drained by an operator" in told.out
    assert merit("gateway", "undrain", "simulated", "--json").json["drained"] is False
    unknown = merit("gateway", "drain", "nobody")
    assert (unknown.code, "There is no provider 'nobody'" in unknown.err) == (3, True)


def test_a_provider_is_probed(merit: Merit) -> None:
    done = merit("gateway", "probe", "simulated")
    assert done.code == 0
    assert "simulated answers, in" in done.out


def test_the_configuration_is_read_now_and_its_errors_are_told(merit: Merit, home: Settings) -> None:
    file = home.root / "providers.toml"
    file.write_text(SHIPPED)
    done = merit("gateway", "reload")
    assert done.code == 0
    assert "10 models of 2 providers." in done.out
    file.write_text("[providers.openai]\ntimout_s = 3\nkey_env = 4\n")
    done = merit("gateway", "reload")
    assert done.code == 2
    assert "timout_s" in done.err
    assert "key_env" in done.err
    assert ask(merit).code == 0
    file.unlink()
    assert merit("gateway", "reload").code == 0


def test_a_provider_that_does_not_answer_is_told(merit: Merit, home: Settings) -> None:
    file = home.root / "providers.toml"
    nowhere = '[providers.nowhere]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nlocal = true\nmodels = ["m"]\n'
    prices = '[models."nowhere/m"]\nprice = { input = 1.0, output = 1.0 }\n'
    file.write_text(f"{SHIPPED}\n{nowhere}\n{prices}")
    assert merit("gateway", "reload").code == 0
    done = merit("gateway", "probe", "nowhere")
    assert done.code == 5
    assert "nowhere does not answer (connect)" in done.err
    file.unlink()
    merit("gateway", "reload")


def test_an_answer_is_judged(merit: Merit, tmp_path: Path) -> None:
    call = ask(merit).json["merit"]["id"]
    assert "thumb: 100%" in merit("feedback", call, "--up", "--comment", "Right.").out
    assert merit("feedback", call, "--stars", "2", "--json").json["score"] == 0.25
    assert merit("feedback", call, "--score", "0.4").code == 0
    edited = tmp_path / "edited.txt"
    edited.write_text("391")
    needed = merit("feedback", call, "--edit", str(edited))
    assert (needed.code, "was not kept" in needed.err) == (2, True)
    for wrong in (("--up", "--down"), (), ("--up", "--stars", "3")):
        assert merit("feedback", call, *wrong).code == 2
    assert merit("feedback", call, "--edit", str(tmp_path / "none.txt")).code == 2
    assert merit("feedback", "0" * 32, "--up").code == 3


def test_budgets_are_set_twice_listed_and_removed(merit: Merit) -> None:
    made = merit("budgets", "set", "workspace", "200", "--subject", "default", "--json").json
    again = merit("budgets", "set", "workspace", "300", "--subject", "default", "--json").json
    assert (again["id"], again["amount"]) == (made["id"], 300.0)
    user = merit("budgets", "set", "user", "5", "--workspace", "default", "--period", "day", "--json").json
    more = merit("budgets", "set", "user", "6", "--workspace", "default", "--period", "day", "--json").json
    assert more["id"] == user["id"]
    request = merit("budgets", "set", "request", "1", "--json").json
    assert {one["id"] for one in merit("budgets", "list", "--json").json} >= {made["id"], user["id"], request["id"]}
    assert "default" in merit("budgets", "list").out
    for one in (made, user, request):
        assert merit("budgets", "remove", one["id"]).code == 0
    assert merit("budgets", "remove", made["id"]).code == 3


def test_usage_and_routes_are_told(merit: Merit) -> None:
    ask(merit)
    assert "simulated/small" in merit("usage", "--by", "model").out
    assert merit("usage", "--by", "day,task", "--json").json["rows"][0]["calls"] >= 1
    assert merit("usage", "--by", "colour").code == 2
    done = merit("route", "Write a function that reverses a list.")
    assert done.code == 0
    assert "Task: " in done.out


def test_keys_made_at_the_command_stand_in_the_audit_log(
    make_home: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from store import audit

    settings = make_home()
    monkeypatch.setenv("MERIT_HOME", str(settings.home))
    monkeypatch.setenv("MERIT_ACTOR", "ann")

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["merit", *arguments])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out

    made = json.loads(run("keys", "create", "shop", "--workspace", "north", "--json"))
    run("keys", "revoke", made["id"])
    lines = audit.entries(settings).items
    assert [(one.action, one.actor, one.workspace, one.subject) for one in lines] == [
        ("key.revoke", "ann", "north", "shop"),
        ("key.create", "ann", "north", "shop"),
    ]
    assert made["key"] not in str(lines)
