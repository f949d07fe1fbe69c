"""What the gateway is measured beside: a bare pass-through, Portkey, LiteLLM, all in front of the same upstream.

Portkey and LiteLLM are installed apart, so that nothing of theirs is a requirement here:

    npm install --prefix PEERS @portkey-ai/gateway
    python -m venv PEERS/litellm && PEERS/litellm/bin/pip install "litellm[proxy]"
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
ANSWER_BYTES = 600


@dataclass(frozen=True)
class Peer:
    """A server that answers chat completions.

    Attributes
    ----------
    body : of a request.
    """

    name: str
    url: str
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)
    pid: int = 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, argv: list[str], env: Mapping[str, str], ready: str, folder: Path) -> Iterator[int]:
    """A server as a process of its own until the block ends; its process id."""
    log_file = folder / f"{name}-{time.monotonic_ns()}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            argv, env={**os.environ, **env}, cwd=PROJECT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start:\n{(folder / f'{name}.log').read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(ready, timeout=2):
                    break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)


@contextmanager
def upstream(folder: Path) -> Iterator[str]:
    """The one upstream: the simulated provider without delays; yields its base URL without `/v1`."""
    port = free_port()
    argv = [*_uvicorn("serving.simulated_provider:create_app", port)]
    env = {"MERIT_SIMULATOR_SPEED": "0"}
    with running("upstream", argv, env, f"http://127.0.0.1:{port}/healthz", folder):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def passthrough(base: str, body: Mapping[str, object], folder: Path) -> Iterator[Peer]:
    port = free_port()
    argv = _uvicorn("benchmarks.gateway_passthrough:create_app", port)
    with running("passthrough", argv, {"UPSTREAM": base}, f"http://127.0.0.1:{port}/healthz", folder) as pid:
        yield Peer("bare FastAPI + aiohttp", f"http://127.0.0.1:{port}/v1/chat/completions", body, pid=pid)


@contextmanager
def meritorder(base: str, body: Mapping[str, object], folder: Path) -> Iterator[Peer]:
    """Everything on: a key, its limits, two budgets, routing among the default models, the ledger."""
    from store import budgets, keys
    from store.settings import Settings

    home, port = Path(tempfile.mkdtemp(dir=folder)), free_port()
    settings = Settings(home=home)
    _, secret = keys.create(
        settings, "bench", "application", workspace="bench", requests_per_minute=10**9, tokens_per_minute=2 * 10**9
    )
    for scope, period in (("workspace", "day"), ("user", "month")):
        budgets.create(settings, scope=scope, subject="", workspace="", period=period, amount=10**15, action="refuse")
    env = {"MERIT_HOME": str(home), "MERIT_PORT": str(port), "MERIT_SIMULATOR_PORT": base.rpartition(":")[2]}
    argv = _uvicorn("serving.gateway_app:create_app", port)
    with running("meritorder", argv, env, f"http://127.0.0.1:{port}/healthz", folder) as pid:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        name = f"Meritorder, everything on, `{body.get('model', 'any')}`"
        yield Peer(name, url, body, {"Authorization": f"Bearer {secret}"}, pid)


@contextmanager
def portkey(base: str, body: Mapping[str, object], folder: Path, peers: Path) -> Iterator[Peer]:
    port = free_port()
    server = peers / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    argv = ["node", str(server), f"--port={port}", "--headless"]
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{base}/v1", "Authorization": "Bearer none"}
    with running("portkey", argv, {"NODE_ENV": "production"}, f"http://127.0.0.1:{port}/", folder) as pid:
        yield Peer("Portkey (Node)", f"http://127.0.0.1:{port}/v1/chat/completions", body, headers, pid)


@contextmanager
def litellm(base: str, body: Mapping[str, object], folder: Path, peers: Path) -> Iterator[Peer]:
    port, config = free_port(), folder / "litellm.yaml"
    model = {
        "model_name": body["model"],
        "litellm_params": {"model": f"openai/{body.get('model', '')}", "api_base": f"{base}/v1"},
    }
    model["litellm_params"]["api_key"] = "none"  # type: ignore[index]
    config.write_text(json.dumps({"model_list": [model]}))
    argv = [
        str(peers / "litellm" / "bin" / "litellm"),
        "--config",
        str(config),
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    ready = f"http://127.0.0.1:{port}/health/liveliness"
    # It refuses to start without one. With it alone no database is asked.
    key = "sk-benchmark-of-the-gateway-alone"
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": key}
    headers = {"Authorization": f"Bearer {key}"}
    with running("litellm", argv, env, ready, folder) as pid:
        yield Peer("LiteLLM proxy", f"http://127.0.0.1:{port}/v1/chat/completions", body, headers, pid)


def _uvicorn(app: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "uvicorn", app, "--factory", "--host", "127.0.0.1", "--port", str(port)),
        *("--no-access-log", "--log-level", "warning"),
    ]
