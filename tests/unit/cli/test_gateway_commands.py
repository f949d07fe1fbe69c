"""Commands about the gateway: what they print, what they ask of an API, and what becomes of its errors."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.main import main

KEY = "merit_0123456789ab_planted"


@dataclass
class Asked:
    """What a command sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Api:
    """A server that answers what a test lays down, by method and path, and keeps what it was asked."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)

    def answer(self, what: str, body: Any, status: int = 200, kind: str = "application/json") -> None:
        self.answers[what] = (status, kind, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            path = self.path
            made.asked.append(
                Asked(self.command, path, dict(self.headers.items()), json.loads(content) if content else None)
            )
            missing = (404, "application/problem+json", b'{"type": "urn:merit:problem:unknown-route", "status": 404}')
            status, kind, body = made.answers.get(f"{self.command} {path.partition('?')[0]}", missing)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    for method in ("GET", "POST", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Ran:
    code: int
    out: str
    err: str


Merit = Callable[..., Ran]


@pytest.fixture
def merit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Merit:
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("cli.output.screen._width", 200)
    monkeypatch.setattr("cli.output.errors._width", 200)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["merit", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err)

    return run


def problem(kind: str, status: int, detail: str, **more: Any) -> dict[str, Any]:
    return {"type": f"urn:merit:problem:{kind}", "title": kind, "status": status, "detail": detail, **more}


# gateway -----------------------------------------------------------------------------------------------------------


def test_checking_the_file_that_comes_with_the_package(merit: Merit) -> None:
    done = merit("gateway", "check")
    assert done.code == 0
    assert "is right: 10 models of 2 providers." in done.out


def test_checking_explains_every_error_and_exits_2(merit: Merit, tmp_path: Path) -> None:
    file = tmp_path / "providers.toml"
    file.write_text("[providers.openai]\ntimout_s = 3\n[aliases]\nauto = 'x'\n")
    done = merit("gateway", "check", str(file))
    assert done.code == 2
    assert "has 2 errors" in done.err
    assert "[providers.openai] timout_s: there is no such key. Did you mean timeout_s?" in done.err
    assert "[aliases] auto: 'auto' means something already." in done.err
    told = merit("gateway", "check", str(file), "--json")
    assert told.code == 2
    assert [one["key"] for one in json.loads(told.out)["problems"]] == ["timout_s", "auto"]


def test_checking_says_what_is_left_out(merit: Merit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    file = tmp_path / "providers.toml"
    file.write_text("[providers.openai]\n")
    done = merit("gateway", "check", str(file))
    assert done.code == 0
    assert "providers.openai is left out: OPENAI_API_KEY, for its key, is not set." in done.err


def test_checking_a_file_that_is_not_there(merit: Merit, tmp_path: Path) -> None:
    assert merit("gateway", "check", str(tmp_path / "none.toml")).code == 2


def test_the_table_of_models(merit: Merit) -> None:
    done = merit("gateway", "models")
    assert done.code == 0
    (line,) = [line for line in done.out.splitlines() if line.startswith("simulated/small ")]
    assert line.split()[:5] == ["simulated/small", "0.15", "0.6", "128,000", "no"]
    assert "json_schema, tools" in line


def test_models_by_provider_and_capability(merit: Merit) -> None:
    told = json.loads(merit("gateway", "models", "--capability", "vision", "--json").out)
    assert [one["id"] for one in told] == ["simulated/vision", "simulated/large"]
    assert told[1]["price"] | {"tiers": None} == {
        "input": 3.0, "output": 15.0, "cached": 0.3, "cache_write": 3.75, "request": 0.0, "tiers": None,
    }  # fmt: skip
    assert told[1]["quality"]["default"] == 0.93
    assert "simulated/nano" not in merit("gateway", "models", "--provider", "simulated-local").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--provider", "simulate"), "Did you mean simulated?"), (("--capability", "vison"), "Did you mean vision?")],
)
def test_models_of_what_there_is_not(merit: Merit, arguments: tuple[str, str], told: str) -> None:
    done = merit("gateway", "models", *arguments)
    assert done.code == 2
    assert told in done.err


# chat --------------------------------------------------------------------------------------------------------------

ANSWER = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Seine, Rhône, Loire."}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17},
    "merit": {"id": "abc", "model": "simulated/small", "cost": 0.0000061, "attempts": 2, "cache": None},
}


def test_an_answer_alone_goes_to_standard_output(merit: Merit, api: Api) -> None:
    api.answer("POST /v1/chat/completions", ANSWER)
    done = merit("chat", "Three rivers?", "--no-stream", "--url", api.url)
    assert (done.code, done.out) == (0, "Seine, Rhône, Loire.\n")
    assert "simulated/small · $0.000006 · 9 + 8 tokens · 2 attempts · abc" in done.err
    assert api.asked[0].body == {"model": "auto", "messages": [{"role": "user", "content": "Three rivers?"}]}


def test_limits_are_passed_on_and_nothing_else(merit: Merit, api: Api) -> None:
    api.answer("POST /v1/chat/completions", ANSWER)
    limits = (
        "--max-cost",
        "0.002",
        "--max-latency-ms",
        "1500",
        "--min-quality",
        "0.7",
        "--capabilities",
        "code, vision",
    )
    others = ("--local-only", "--system", "Be brief.", "--model", "best", "--max-tokens", "50", "--no-stream")
    merit("chat", "Hi", *limits, *others, "--url", api.url)
    assert api.asked[0].body == {
        "model": "best",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 50,
        "merit": {
            "max_cost": 0.002,
            "max_latency_ms": 1500.0,
            "min_quality": 0.7,
            "capabilities": ["code", "vision"],
            "local_only": True,
        },
    }


def _events(*events: Any, done: bool = True) -> bytes:
    frames = [f"data: {json.dumps(one)}\n\n" for one in events]
    return "".join([": hello\n\n", *frames, "data: [DONE]\n\n" if done else ""]).encode()


def test_a_stream_is_printed_as_it_comes(merit: Merit, api: Api) -> None:
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Seine", ", ", "Rhône")]
    last = {"choices": [], "usage": ANSWER["usage"], "merit": ANSWER["merit"]}
    api.answer("POST /v1/chat/completions", _events(*chunks, last), kind="text/event-stream")
    done = merit("chat", "Rivers?", "--stream", "--url", api.url)
    assert (done.code, done.out) == (0, "Seine, Rhône\n")
    assert "simulated/small · $0.000006" in done.err
    assert api.asked[0].body["stream"] is True
    assert api.asked[0].body["stream_options"] == {"include_usage": True}


def test_a_stream_that_breaks_off_is_an_error_after_what_came(merit: Merit, api: Api) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "Sei"}}]}
    error = {"error": {"message": "simulated/small broke off.", "type": "server_error", "code": "upstream-failed"}}
    api.answer("POST /v1/chat/completions", _events(chunk, error, done=False), kind="text/event-stream")
    done = merit("chat", "Rivers?", "--stream", "--url", api.url)
    assert (done.code, done.out) == (5, "Sei\n")
    assert "Error: simulated/small broke off." in done.err


def test_an_empty_prompt_is_not_sent(merit: Merit, api: Api) -> None:
    assert merit("chat", "  ", "--url", api.url).code == 2
    assert api.asked == []


# route -------------------------------------------------------------------------------------------------------------


def test_a_decision_is_shown_with_its_candidates(merit: Merit, api: Api) -> None:
    decision = {
        "model": "simulated/small", "reason": "Good enough and cheap.", "confidence": 0.8, "policy": "priors",
        "task": {"complexity": "simple", "domain": "knowledge", "input_tokens": 9, "needs": ["json"], "reasons": []},
        "candidates": [
            {"model": "simulated/small", "score": 0.7, "quality": 0.63, "cost": 0.00012, "latency_ms": 1100.2},
            {"model": "simulated/large", "score": 0.6, "quality": 0.94, "cost": 0.0031, "latency_ms": 4400.0},
        ],
        "excluded": {"simulated/nano": "cannot do json_schema"},
    }  # fmt: skip
    api.answer("POST /v1/llm/route", decision)
    done = merit("route", "Three rivers?", "--url", api.url)
    assert done.code == 0
    assert "simulated/small: Good enough and cheap." in done.out
    assert "simple knowledge, 9 tokens, needs json." in done.out
    assert "not simulated/nano: cannot do json_schema" in done.out
    (line,) = [line for line in done.out.splitlines() if line.startswith("simulated/large")]
    assert line.split() == ["simulated/large", "0.6", "0.94", "3.1", "4400"]
    assert json.loads(merit("route", "Three rivers?", "--json", "--url", api.url).out) == decision


# budgets and usage -------------------------------------------------------------------------------------------------

BUDGET = {
    "id": "b1", "scope": "workspace", "subject": "energy", "workspace": "energy", "period": "month", "amount": 100.0,
    "spent": 12.5, "reserved": 0.1, "remaining": 87.4, "used": 0.125, "action": "refuse",
}  # fmt: skip


def test_budgets_are_listed(merit: Merit, api: Api) -> None:
    api.answer("GET /v1/budgets", {"budgets": [BUDGET]})
    done = merit("budgets", "list", "--url", api.url)
    assert done.code == 0
    assert "12%" in done.out
    assert json.loads(merit("budgets", "list", "--json", "--url", api.url).out) == [BUDGET]


def test_a_budget_is_made_or_changed(merit: Merit, api: Api) -> None:
    api.answer("GET /v1/budgets", {"budgets": [BUDGET]})
    api.answer("PATCH /v1/budgets/b1", BUDGET | {"amount": 200.0})
    api.answer("POST /v1/budgets", BUDGET | {"id": "b2"}, 201)
    changed = merit(
        "budgets", "set", "workspace", "200", "--subject", "energy", "--action", "downgrade", "--url", api.url
    )
    assert "b1: workspace energy, $200.00 a month, then downgrade." in changed.out
    assert api.asked[-1].body == {"amount": 200.0, "action": "downgrade"}
    made = merit("budgets", "set", "user", "5", "--period", "day", "--url", api.url)
    assert "b2: each user, $5.00 a day, then refuse." in made.out
    assert api.asked[-1].body == {
        "scope": "user", "subject": "", "workspace": "", "period": "day", "amount": 5.0, "action": "refuse",
    }  # fmt: skip


def test_a_budget_is_removed(merit: Merit, api: Api) -> None:
    api.answer("DELETE /v1/budgets/b1", b"", 204)
    assert merit("budgets", "remove", "b1", "--url", api.url).code == 0
    gone = merit("budgets", "remove", "b2", "--url", api.url)
    assert gone.code == 3


def test_usage_is_shown_by_what_is_asked(merit: Merit, api: Api) -> None:
    row = {"model": "simulated/small", "calls": 12, "input_tokens": 900, "output_tokens": 300, "cost": 0.0004}
    api.answer("GET /v1/usage", {"rows": [row]})
    done = merit("usage", "--by", "model", "--since", "2026-11-01", "--url", api.url)
    assert done.code == 0
    assert "$0.000400 in 12 calls" in done.out
    assert api.asked[0].path == "/v1/usage?by=model&since=2026-11-01"


# The API itself ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "code", "told"),
    [
        (402, problem("budget-exceeded", 402, "The budget is used up.", remedy="Raise it."), 4, "Raise it."),
        (404, problem("unknown-llm", 404, "There is no model 'x'."), 3, "There is no model 'x'."),
        (422, problem("invalid-request", 422, "a: wrong", errors=[{}, {"field": "b", "message": "bad"}]), 2, "b: bad"),
        (
            422,
            problem("invalid-request", 422, "call: no id.", value="nope", field="call"),
            2,
            "call: no id, not 'nope'.",
        ),
        (503, problem("upstream-failed", 503, "Every attempt failed."), 5, "Every attempt failed."),
        (500, problem("unexpected", 500, "Something went wrong."), 1, "Something went wrong."),
        (429, {"error": {"message": "Slow down.", "type": "rate_limit", "code": "rate-limited"}}, 4, "Slow down."),
        (403, {"error": {"message": "Not yours.", "type": "x", "code": None, "param": "role"}}, 4, "Not yours."),
        (502, b"<html>Bad gateway</html>", 5, "The API answers with status 502."),
    ],
)
def test_errors_of_the_api_become_ours_with_their_exit_codes(
    merit: Merit, api: Api, status: int, body: Any, code: int, told: str
) -> None:
    api.answer("POST /v1/llm/route", body, status)
    done = merit("route", "Hi", "--url", api.url)
    assert done.code == code
    assert told in done.err


def test_a_key_comes_from_the_environment_and_is_never_shown(
    merit: Merit, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MERIT_API_KEY", KEY)
    api.answer("GET /v1/usage", problem("access-denied", 401, "The API key is not valid."), 401)
    done = merit("usage", "--url", api.url)
    assert api.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert done.code == 4
    assert KEY not in done.out + done.err


def test_without_a_key_one_is_asked_for(merit: Merit, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MERIT_API_KEY", raising=False)
    api.answer("GET /v1/usage", problem("access-denied", 401, "This needs an API key."), 401)
    assert "Put a key into MERIT_API_KEY" in merit("usage", "--url", api.url).err


def test_when_no_api_runs_it_is_said_how_to_start_one(merit: Merit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERIT_PORT", "9")
    for command in (("gateway", "health"), ("chat", "Hi"), ("usage",), ("budgets", "list")):
        done = merit(*command)
        assert done.code == 5, command
        assert "No API answers at http://127.0.0.1:9." in done.err
        assert "merit up" in done.err


def test_what_answers_is_another_program(merit: Merit, api: Api) -> None:
    api.answer("GET /v1/usage", b"hello", kind="text/plain")
    done = merit("usage", "--url", api.url)
    assert done.code == 5
    assert "is not this API" in done.err


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://user:planted@host", "http://host/?key=planted"])
def test_an_address_that_is_none(merit: Merit, url: str) -> None:
    done = merit("usage", "--url", url)
    assert done.code == 2
    assert "user:planted" not in done.err


def test_the_base_url_of_an_openai_client_does_as_well(merit: Merit, api: Api) -> None:
    api.answer("GET /v1/usage", {"rows": []})
    assert merit("usage", "--url", api.url + "/v1/").code == 0
