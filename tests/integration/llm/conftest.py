"""A gateway as it runs: a worker in a process of its own, over the simulated provider, with keys. Started once for all
tests here that can share it; each test asks with a workspace of its own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import httpx
import pytest

from store import keys
from store.database import dispose, migrate
from store.settings import Settings

# The simulated provider four times: as it is, on the own machines, and in the formats of Anthropic and Gemini. Limits
# of time are short, so that no test waits for long, and retries are not what a test runs out of by accident. None is
# probed unless a test says so, since a probe half-opens circuits.
PROVIDERS = """
[gateway]
attempts = 3
retry_floor = 1000
timeout_s = {timeout_s}
first_byte_s = {first_byte_s}
stall_s = {stall_s}
connect_s = 2.0
{more}

[providers.simulated]
kind = "simulated"
region = "eu"
models = ["nano", "small", "medium", "large", "coder", "thinker", "vision", "embed"]
probe = false

[providers.simulated-local]
kind = "simulated"
local = true
region = "eu"
models = ["local-small", "local-large"]
probe = false

[providers.claude]
kind = "anthropic"
base_url = "http://127.0.0.1:{port}/v1"
local = true
models = ["large", "thinker", "small"]
probe = false

[providers.gemini]
kind = "gemini"
base_url = "http://127.0.0.1:{port}/v1beta"
local = true
models = ["large", "thinker", "small"]
probe = false
"""
# What each costs and can do, as the package's own configuration says it: dollars per million tokens.
_TALKS = ["chat", "stream", "json"]
_CALLS = [*_TALKS, "json_schema", "tools"]
_MODELS: Mapping[str, tuple[float, float, float, int, list[str]]] = {
    "nano": (0.05, 0.20, 0.0125, 32_000, _TALKS),
    "small": (0.15, 0.60, 0.0375, 128_000, _CALLS),
    "medium": (0.80, 3.20, 0.16, 200_000, [*_CALLS, "code"]),
    "large": (3.0, 15.0, 0.30, 1_000_000, [*_CALLS, "code", "reasoning", "vision"]),
    "coder": (0.50, 2.00, 0.05, 256_000, [*_CALLS, "code"]),
    "thinker": (2.0, 8.0, 0.50, 200_000, [*_CALLS, "code", "reasoning"]),
    "vision": (0.40, 1.60, 0.10, 128_000, [*_CALLS, "vision"]),
    "local-small": (0.0, 0.0, 0.0, 16_000, [*_TALKS, "tools"]),
    "local-large": (0.0, 0.0, 0.0, 32_000, _CALLS),
}
_ENSEMBLES = """
[ensembles.jury]
rule = "majority"
members = ["simulated/small", "simulated/medium", "simulated/coder"]

"""


def configuration(
    port: int, *, more: str = "", sections: str = "", timeout_s: float = 20.0, first_byte_s: float = 20.0,
    stall_s: float = 20.0,
) -> str:  # fmt: skip
    """A providers.toml.

    Parameters
    ----------
    more : lines of `[gateway]`.
    sections : further ones.
    """
    text = PROVIDERS.format(port=port, more=more, timeout_s=timeout_s, first_byte_s=first_byte_s, stall_s=stall_s)
    offers = (
        ("simulated", _MODELS),
        ("claude", ("large", "thinker", "small")),
        ("gemini", ("large", "thinker", "small")),
    )
    for provider, names in offers:
        for name in names:
            price, output, cached, context, able = _MODELS[name]
            local = name.startswith("local-")
            text += f'[models."{"simulated-local" if local else provider}/{name}"]\n'
            text += f"price = {{ input = {price}, output = {output}, cached = {cached} }}\ncontext = {context}\n"
            text += f"max_output = 4_096\ncapabilities = {able}\nlocal = {str(local).lower()}\n"
            text += "quality = { default = 0.7 }\n"
    text += '[models."simulated/embed"]\nkind = "embeddings"\nprice = { input = 0.02 }\ncontext = 8_192\n'
    return text + _ENSEMBLES + sections


@dataclass
class Heard:
    """A streamed answer as a client saw it.

    Attributes
    ----------
    frames : data of each event, as it came.
    error : the member `error` of the event that told one.
    done : whether OpenAI's end of a stream came.
    """

    status: int
    headers: Mapping[str, str]
    frames: list[dict[str, Any]]
    error: dict[str, Any] | None
    done: bool

    @property
    def text(self) -> str:
        deltas = (choice["delta"] for frame in self.frames for choice in frame.get("choices", ()))
        return "".join(delta.get("content") or "" for delta in deltas)


@dataclass
class Asker:
    """Somebody with a key of one workspace.

    Attributes
    ----------
    api : with the key in every request.
    """

    api: httpx.Client
    workspace: str
    secret: str

    def chat(self, text: str = "What is 17 * 23?", **fields: Any) -> httpx.Response:
        body = {"model": "simulated/small", "messages": [{"role": "user", "content": text}], **fields}
        return self.api.post("/v1/chat/completions", json=body)

    def answer(self, text: str = "What is 17 * 23?", **fields: Any) -> dict[str, Any]:
        found = self.chat(text, **fields)
        assert found.status_code == 200, found.text
        told: dict[str, Any] = found.json()
        return told

    def hear(self, text: str = "What is 17 * 23?", **fields: Any) -> Heard:
        """A whole stream of OpenAI's format."""
        found = self.chat(text, **fields, stream=True)
        assert found.status_code == 200, found.text
        told = [event.removeprefix("data: ") for event in found.text.split("\n\n") if event]
        frames = [json.loads(event) for event in told if event != "[DONE]"]
        error = next((frame["error"] for frame in frames if "error" in frame), None)
        return Heard(found.status_code, found.headers, frames, error, told[-1:] == ["[DONE]"])


@dataclass
class Gateway:
    """A running gateway, and who may ask it.

    Attributes
    ----------
    admin : a client with a key of the platform.
    """

    settings: Settings
    url: str
    simulator: Any
    process: Any
    admin: httpx.Client
    clients: list[httpx.Client] = field(default_factory=list)
    _number: Iterator[int] = field(default_factory=lambda: count(1))

    def asker(self, *, keep: str = "nothing", **workspace: Any) -> Asker:
        """Somebody in a workspace that nobody else is in."""
        name = f"w{next(self._number)}"
        if workspace or keep != "nothing":
            self.told(self.admin.put(f"/v1/workspaces/{name}", json={"keep": keep, **workspace}))
        secret = keys.create(self.settings, f"key-{name}", "application", workspace=name)[1]
        client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30)
        self.clients.append(client)
        return Asker(client, name, secret)

    def budget(self, asker: Asker, dollars: float, **fields: Any) -> str:
        """A budget of a whole workspace; its id."""
        body = {"scope": "workspace", "subject": asker.workspace, "amount": dollars, "period": "month", **fields}
        return str(self.told(self.admin.post("/v1/budgets", json=body))["id"])

    def standing(self, budget: str) -> dict[str, Any]:
        """How a budget stands."""
        found: dict[str, Any] = self.told(self.admin.get(f"/v1/budgets/{budget}"))["budgets"][0]
        return found

    def spent(self, workspace: str) -> int:
        """Nanos in the ledger."""
        rows = self.told(self.admin.get("/v1/usage", params={"by": "", "workspace": workspace}))["rows"]
        return round(sum(row["cost"] for row in rows) * 1e9)

    def runs(self, workspace: str, **query: Any) -> list[dict[str, Any]]:
        """Lines of the ledger, newest first."""
        found: list[dict[str, Any]] = []
        query = {"workspace": workspace, "limit": 200, **query}
        while True:
            page = self.told(self.admin.get("/v1/llm/runs", params=query))
            found += page["runs"]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    def run(self, call_id: str) -> dict[str, Any]:
        """Everything about a call."""
        found: dict[str, Any] = self.told(self.admin.get(f"/v1/llm/runs/{call_id}"))
        return found

    def configure(self, text: str) -> None:
        """Another providers.toml, in force when this returns."""
        (self.settings.root / "providers.toml").write_text(text)
        self.told(self.admin.post("/v1/llm/reload"))

    def health(self, model: str) -> dict[str, Any]:
        models = self.told(self.admin.get("/v1/llm/health"))["models"]
        found: dict[str, Any] = next(one for one in models if one["model"] == model)
        return found

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples with these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        total = 0.0
        for line in self.admin.get("/metrics").text.splitlines():
            told, _, value = line.rpartition(" ")
            if told.partition("{")[0] == name and all(one in told for one in wanted):
                total += float(value)
        return total

    def settled(self, workspace: str, lines: int, *, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Lines of the ledger once there are so many: a call whose client went away ends a moment later."""
        deadline = time.monotonic() + seconds
        while len(found := self.runs(workspace)) < lines and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(found) == lines, found
        return found

    def calm(self) -> None:
        """No circuit open, nobody drained."""
        for provider in ("simulated", "simulated-local", "claude", "gemini"):
            self.admin.post(f"/v1/llm/providers/{provider}/undrain")
            self.admin.post(f"/v1/llm/providers/{provider}/reset")

    @staticmethod
    def told(answer: httpx.Response) -> Any:
        assert answer.status_code in (200, 201), answer.text
        return answer.json()


Start = Callable[..., Gateway]


@pytest.fixture(scope="session")
def providers_toml(simulator_process: Any) -> Callable[..., str]:
    """`providers_toml(stall_s=0.5)` gives a configuration over the simulated provider; see `configuration`."""
    return partial(configuration, simulator_process.port)


@pytest.fixture(scope="session")
def start_gateway(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    simulator_process: Any,
    api_process: Any,
    providers_toml: Callable[..., str],
) -> Iterator[Start]:
    """`start_gateway()` gives a running gateway; all are stopped in the end.

    `settings` continues on a home that there is already, `database_url` is another database than one in the home;
    `app` is `serving.app` for the whole API; `fresh` is that of `ApiProcess`; further
    arguments are variables of its environment.
    """
    started: list[Gateway] = []

    def start(
        *,
        settings: Settings | None = None,
        database_url: str | None = None,
        app: str = "serving.gateway_app",
        fresh: bool = False,
        **environment: str,
    ) -> Gateway:
        if settings is None:
            home = tmp_path_factory.mktemp("gateway") / "home"
            settings = Settings(home=home, threads=1, database_url=database_url)  # type: ignore[arg-type]
            if app == "serving.app":
                shutil.copy(request.getfixturevalue("mlflow_template"), settings.root / "mlflow.db")
            (settings.root / "providers.toml").write_text(providers_toml())
        migrate(settings)
        secret = keys.create(settings, f"admin-{len(started)}", "admin")[1]
        log = tmp_path_factory.mktemp("log") / "api.log"
        environment = {
            "MERIT_SIMULATOR_PORT": str(simulator_process.port),
            # Providers that speak those formats have keys; the simulated one takes any.
            "ANTHROPIC_API_KEY": "none",
            "GEMINI_API_KEY": "none",
            **environment,
        }
        process = api_process(settings, log, app=app, fresh=fresh, **environment)
        admin = httpx.Client(base_url=process.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30)
        started.append(Gateway(settings, process.url, simulator_process, process, admin))
        process.wait("/healthz")
        return started[-1]

    yield start
    for one in started:
        for client in (one.admin, *one.clients):
            client.close()
        one.process.stop()
        dispose(one.settings)


@pytest.fixture(scope="session")
def shared_gateway(start_gateway: Start) -> Gateway:
    return start_gateway()


@pytest.fixture
def gateway(shared_gateway: Gateway, simulator: Any) -> Gateway:
    """The gateway that tests share, over a simulated provider without delays, faults and charges."""
    shared_gateway.calm()
    return shared_gateway
