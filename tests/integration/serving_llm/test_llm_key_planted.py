"""A provider's key that was planted in the environment never shows: in no answer, error, log, metric, event or row."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from store.settings import Settings
from tests.integration.serving_llm.conftest import Api, Run

# Like no real provider's: what is hidden by its shape would prove nothing.
KEY = "planted.Zq7Xw2Rt9"
HEADER = "sown.Lm4Pv8Ks1"
FILE = """
[gateway]
attempts = 1

[providers.mine]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
local = true
key_env = "PLANTED_KEY"
headers = {{ X-Team = "{{env:PLANTED_HEADER}}" }}
models = ["simulated/small", "simulated/nano"]

[models."mine/simulated/small"]
price = {{ input = 1.0, output = 2.0 }}
[models."mine/simulated/nano"]
price = {{ input = 1.0, output = 2.0 }}

[providers.parrot]
kind = "openai"
base_url = "http://{login}127.0.0.1:{parrot}/v1"
local = true
key_env = "PLANTED_KEY"
headers = {{ X-Team = "{{env:PLANTED_HEADER}}" }}
models = ["m"]

[models."parrot/m"]
price = {{ input = 1.0, output = 2.0 }}
"""


class Parrot(BaseHTTPRequestHandler):
    """A provider that repeats what it was sent, with every status in turn."""

    statuses = (400, 401, 403, 404, 422, 429, 500, 200)
    asked = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = self.statuses[Parrot.asked // 2 % len(self.statuses)]
        Parrot.asked += 1
        sent = f"{self.headers.get('Authorization')} and {self.headers.get('X-Team')}"
        body = json.dumps({"error": {"message": f"Incorrect API key provided: {sent}", "code": sent}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Sent", sent)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def parrot() -> Iterator[int]:
    """Its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def everything(api: Api) -> str:
    """Whatever the API says while its provider answers, fails in every way, and says the key itself."""
    said: list[str] = []

    def ask(method: str, path: str, **given: Any) -> Any:
        answer = api.ask(None, method, path, **given)
        said.append(f"{answer.status_code} {dict(answer.headers)} {answer.text}")
        return answer

    chat = {"model": "mine/simulated/small", "messages": [{"role": "user", "content": "Hello"}]}
    ask("POST", "/v1/chat/completions", json=chat)
    ask("POST", "/v1/chat/completions", json={**chat, "stream": True})
    for number in range(2 * len(Parrot.statuses)):
        ask("POST", "/v1/chat/completions", json={**chat, "model": "parrot/m", "stream": number % 2 == 1})
        ask("POST", "/v1/llm/providers/parrot/reset")
    ask("POST", "/v1/chat/completions", json={**chat, "model": "auto"})
    ask("POST", "/v1/llm/route", json={**chat, "model": "auto"})
    for path in (
        "/v1/models", "/v1/llm/providers", "/v1/llm/health", "/v1/llm/ensembles", "/v1/budgets", "/v1/workspaces",
        "/v1/usage?by=model", "/v1/audit", "/metrics", "/readyz", "/openapi.json",
    ):  # fmt: skip
        ask("GET", path)
    for name in ("mine", "parrot"):
        ask("POST", f"/v1/llm/providers/{name}/probe")
    for one in ask("GET", "/v1/llm/runs?limit=1000").json()["runs"]:
        ask("GET", f"/v1/llm/runs/{one['id']}")
    file = api.settings.root / "providers.toml"
    right = file.read_text()
    file.write_text(right.replace("[providers.parrot]", f'[providers.parrot]\nkey = "{KEY}"\nregions = "{HEADER}"'))
    ask("POST", "/v1/llm/reload")
    ask("GET", "/v1/llm/providers")
    ask("GET", "/readyz")
    file.write_text(right)
    ask("POST", "/v1/llm/reload")
    return "\n".join(said)


def test_a_planted_key_never_shows(
    make_home: Callable[..., Settings],
    run: Run,
    simulator: Any,
    parrot: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    monkeypatch.setenv("PLANTED_HEADER", HEADER)
    settings = make_home()
    # Its address may not hold a password either; where it does, that is an error which does not repeat it.
    wrong, right = (FILE.format(port=simulator.port, parrot=parrot, login=login) for login in (f"user:{KEY}@", ""))
    (settings.root / "providers.toml").write_text(wrong)
    with run(settings) as api:
        refused = api.ask(None, "POST", "/v1/llm/reload")
        assert refused.status_code == 409
        assert KEY not in refused.text
        (settings.root / "providers.toml").write_text(right)
        api.post(None, "/v1/llm/reload", None)
        with caplog.at_level(logging.DEBUG):
            said = everything(api)
    assert "mine/simulated/small" in said  # it was used
    assert '"failure":"credentials"' in said
    assert "Incorrect API key provided" in said
    with closing(sqlite3.connect(settings.root / "merit.db")) as database:
        rows = "\n".join(database.iterdump())
    assert "mine/simulated/small" in rows
    files = b"".join(
        path.read_bytes()
        for path in settings.root.rglob("*")
        if path.is_file() and path.name not in ("providers.toml", "mlflow.db")
    )
    output = capfd.readouterr()
    for where, text in (
        ("answers", said),
        ("rows", rows),
        ("log", caplog.text),
        ("output", output.out + output.err),
        ("files", files.decode("utf-8", "replace")),
    ):
        assert KEY not in text, where
        assert HEADER not in text, where
