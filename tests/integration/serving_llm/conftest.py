"""The API with its gateway over the simulated provider, keys of every role, and two workspaces that know nothing of
each other: north and south."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from cli import api_client
from cli.main import main
from serving.app import create_app
from store import keys
from store.database import dispose, migrate
from store.settings import Settings

ROLES = ("application", "analyst", "admin")
# Every caller: a role, and where it is bound the workspace. `other@north` is a second application there.
CALLERS = (
    *ROLES,
    *(f"{role}@north" for role in ROLES),
    "other@north",
    *(f"{role}@south" for role in ROLES),
)


@dataclass
class Api:
    """A running API.

    Attributes
    ----------
    secrets : keys by caller; empty while the API is open.
    """

    settings: Settings
    client: TestClient
    secrets: dict[str, str] = field(default_factory=dict)
    _number: Any = field(default_factory=lambda: count(1))

    def ask(self, who: str | None, method: str, path: str, **given: Any) -> httpx2.Response:
        """One request; `who` is a caller, None sends no key."""
        headers = {"Authorization": f"Bearer {self.secrets[who]}"} if who and self.secrets else {}
        return self.client.request(method, path, headers={**headers, **given.pop("headers", {})}, **given)

    def get(self, who: str | None, path: str, **given: Any) -> Any:
        """JSON of a GET that succeeds."""
        return self.told(self.ask(who, "GET", path, **given))

    def post(self, who: str | None, path: str, body: Any, **given: Any) -> Any:
        """JSON of a POST that succeeds."""
        return self.told(self.ask(who, "POST", path, json=body, **given))

    @staticmethod
    def told(answer: httpx2.Response) -> Any:
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def chat(
        self, who: str | None, text: str = "What is 17 * 23?", *, model: str = "simulated/small", **fields: Any
    ) -> str:
        """Id of a call that was answered."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        answer = self.ask(who, "POST", "/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-merit-id"])

    def join(self, name: str) -> None:
        """A new caller: an application of a workspace of the same name, for which nothing is set."""
        made = self.post("admin", "/v1/keys", {"name": name, "role": "application", "workspace": name})
        self.secrets[name] = made["secret"]

    def name(self, stem: str) -> str:
        """A name that no other test has."""
        return f"{stem}-{next(self._number)}"


Run = Callable[[Settings], AbstractContextManager[Api]]


@contextmanager
def _run(settings: Settings) -> Iterator[Api]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1", client=("127.0.0.1", 50_000)) as client:
        yield Api(settings, client)
    dispose(settings)


@pytest.fixture(scope="session")
def run() -> Run:
    """`with run(settings) as api`: the API over a home, open."""
    return _run


@pytest.fixture(scope="session")
def make_home(
    tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path, simulator_process: Any
) -> Callable[..., Settings]:
    """`make_home(data_key=…)` gives settings of an empty home whose gateway asks the simulated provider."""

    def make(**given: Any) -> Settings:
        home = tmp_path_factory.mktemp("llm") / "home"
        settings = Settings(home=home, threads=1, simulator_port=simulator_process.port, **given)
        shutil.copy(mlflow_template, settings.root / "mlflow.db")
        migrate(settings)
        return settings

    return make


@contextmanager
def _closed(settings: Settings) -> Iterator[Api]:
    """The API with keys, asked from another machine; all workspaces keep words."""
    secrets = {}
    for caller in CALLERS:
        role, _, workspace = caller.partition("@")
        role = "application" if role == "other" else role
        secrets[caller] = keys.create(settings, caller, role, workspace=workspace or None)[1]
    with TestClient(create_app(settings), base_url="http://api.example", client=("203.0.113.7", 40_000)) as client:
        api = Api(settings, client, secrets)
        for workspace in ("default", "north", "south"):
            api.told(api.ask("admin", "PUT", f"/v1/workspaces/{workspace}", json={"keep": "plain"}))
        yield api
    dispose(settings)


@pytest.fixture(scope="session")
def closed() -> Run:
    """`with closed(settings) as api`: the API with a key for every caller."""
    return _closed


@pytest.fixture(scope="module")
def api(make_home: Callable[..., Settings], closed: Run, simulator_process: Any) -> Iterator[Api]:
    """One API for a module: with keys, both workspaces, the simulated provider without delays or faults."""
    simulator_process.reset()
    with closed(make_home()) as made:
        yield made


@dataclass
class Ran:
    """What a run of the command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def command(api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`command("analyst@north", "bench-models", …)`: the command in this process, asking the API of this module."""

    def run(who: str, *arguments: str) -> Ran:
        def answer(_: Any, method: str, path: str, **given: Any) -> Any:
            headers = {"Content-Type": "application/json"} if "content" in given else {}
            answered = api.ask(who, method, path, headers=headers, **given)
            if answered.is_error:
                raise api_client.error_of(answered)  # type: ignore[arg-type]  # a newer httpx
            return answered

        monkeypatch.setattr(api_client.Api, "_answer", answer)
        monkeypatch.setenv("MERIT_HOME", str(api.settings.home))
        monkeypatch.setattr("cli.output.screen._width", 250)
        monkeypatch.setattr("cli.output.errors._width", 250)
        monkeypatch.setattr(sys, "argv", ["merit", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err)

    return run
