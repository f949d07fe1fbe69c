"""Single churn predictions by features, against `mlflow models serve` on the same CatBoost model.

    python benchmarks/serving_speed.py [--seconds 4] [--rounds 3]

Trains one CatBoost model on synthetic customers, serves it twice – promoted into a registry and served by the API
with everything on (keys, validation, lineage, every prediction written to the database), and logged with MLflow's own
CatBoost flavour and served by `mlflow models serve --env-manager local` – and sends the same customer to both, from
the same load generator in a process of its own. Each server is measured alone, with one worker.

MLflow's model takes encoded numbers where ours encodes the raw features itself: what is left out is work on our side.
The CPU time is that of all processes of a server, and tells more than the rest where others keep the machine busy.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
CONCURRENCY = (1, 16)


def customers(count: int = 4_000, columns: int = 20) -> pd.DataFrame:
    """Synthetic customers: sixteen numbers, four categories."""
    rng = np.random.default_rng(3)
    data: dict[str, Any] = {"customer_id": [f"c{number:06d}" for number in range(count)]}
    for number in range(columns - 4):
        data[f"usage_{number:02d}"] = rng.gamma(2.0, 20.0, count).round(3)
    data["plan"] = rng.choice(["basic", "plus", "pro", "enterprise"], count)
    data["region"] = rng.choice(["north", "south", "east", "west"], count)
    data["channel"] = rng.choice(["web", "partner", "sales"], count)
    data["payment"] = rng.choice(["card", "transfer"], count)
    frame = pd.DataFrame(data)
    logit = -1.5 + 0.02 * (frame["usage_00"] - frame["usage_01"]) + (frame["plan"] == "basic")
    frame["churned"] = (rng.random(count) < 1 / (1 + np.exp(-logit))).astype(int)
    return frame


def prepare(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train, register and promote; log for MLflow. Returns the request body for the API and for MLflow."""
    from models.families import Spec
    from store import keys
    from store.database import migrate
    from store.promotions import promote
    from store.registry import Registry
    from store.settings import Settings

    frame = customers()
    family = Spec("churn", "churn", {"replicates": 100, "folds": 2}).build()
    candidate = next(one for one in family.candidates() if one.name == "catboost")
    model: Any = family.fit(candidate, frame, {"entity": "customer_id", "target": "churned"}, {})
    model.save(root / "model")

    settings = Settings(home=root / "home")
    migrate(settings)
    registry = Registry(settings)
    with registry.run("churn", "benchmark", {}) as run:
        tags = {"family": "churn", "dataset_digest": "0" * 64, "candidate": "catboost"}
        version = registry.register("churn", root / "model", run.id, model.signature(), tags)
    promote(settings, registry, "churn", version, expected=None, actor="benchmark", reason="benchmark")
    _, secret = keys.create(settings, "benchmark", "application")
    (root / "key").write_text(secret)

    import mlflow

    native = model.members[0].native
    record = {str(name): value for name, value in frame.iloc[0].items()}
    features = {name: getattr(record[name], "item", lambda name=name: record[name])() for name in model.columns}
    names = [f"f{number}" for number in range(len(model.encoder.names))]
    encoded = pd.DataFrame([model.encoder.row(features)], columns=names)
    signature = mlflow.models.infer_signature(
        encoded, native.predict(encoded.to_numpy(), prediction_type="Probability")
    )
    mlflow.catboost.save_model(native, str(root / "mlflow-model"), signature=signature, pip_requirements=["catboost"])
    return {"features": features}, {"dataframe_split": encoded.to_dict(orient="split")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server(command: list[str], health: str, log: Path, environment: dict[str, str]) -> Iterator[int]:
    """A server process and its children, ended at the end; yields the id of their group."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The server did not start:\n{log.read_text()[-3000:]}")
            try:
                with urllib.request.urlopen(health, timeout=5) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                time.sleep(0.2)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def cpu_seconds(group: int) -> float:
    """CPU time of a process group so far; nan where there is no /proc."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else float("nan")


def measure(group: int, url: str, body: Path, seconds: float, concurrency: int, key: str | None) -> dict[str, float]:
    """Figures of one round."""
    command = [sys.executable, str(HERE / "http_load.py"), url, str(body)]
    command += ["--concurrency", str(concurrency), "--seconds", str(seconds)]
    if key:
        command += ["--key", key]
    before = cpu_seconds(group)
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(result.stdout)
    if figures["errors"]:
        raise SystemExit(f"{figures['errors']} requests to {url} failed.")
    return {**figures, "cpu_ms": 1000 * (cpu_seconds(group) - before) / figures["requests"]}


def median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.median([figures[name] for figures in rounds])) for name in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each round")
    parser.add_argument("--rounds", type=int, default=3, help="of each server and concurrency")
    arguments = parser.parse_args()
    binaries = Path(sys.executable).parent
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ.update(quiet)
        ours_body, mlflow_body = prepare(root)
        (root / "ours.json").write_text(json.dumps(ours_body))
        (root / "mlflow.json").write_text(json.dumps(mlflow_body))
        port, other = free_port(), free_port()
        ours = [sys.executable, "-m", "uvicorn", "serving.app:create_app", "--factory", "--no-access-log"]
        theirs = [str(binaries / "mlflow"), "models", "serve", "-m", str(root / "mlflow-model")]
        with (
            server(
                [*ours, "--port", str(port)],
                f"http://127.0.0.1:{port}/readyz?models=churn",
                root / "ours.log",
                {"MERIT_HOME": str(root / "home"), "PYTHONPATH": str(HERE.parent)},
            ) as group,
            server(
                [*theirs, "--env-manager", "local", "-p", str(other)],
                f"http://127.0.0.1:{other}/ping",
                root / "mlflow.log",
                {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"},
            ) as other_group,
        ):
            asked: dict[str, tuple[int, str, Path, str | None]] = {
                "mlflow models serve": (
                    other_group,
                    f"http://127.0.0.1:{other}/invocations",
                    root / "mlflow.json",
                    None,
                ),
                "Meritorder": (
                    group,
                    f"http://127.0.0.1:{port}/v1/churn/predictions",
                    root / "ours.json",
                    (root / "key").read_text(),
                ),
            }
            rounds: dict[tuple[int, str], list[dict[str, float]]] = {}
            for concurrency in CONCURRENCY:
                # The first round warms up.
                for number in range(arguments.rounds + 1):
                    for name, (process, url, body, key) in asked.items():
                        length = arguments.seconds if number else 1.0
                        figures = measure(process, url, body, length, concurrency, key)
                        if number:
                            rounds.setdefault((concurrency, name), []).append(figures)
    load = os.getloadavg()[0]
    print(f"One worker each, {os.cpu_count()} CPUs, load average {load:.1f} at the end, {arguments.rounds} rounds\n")
    print("| concurrency | server | requests/s | p50 ms | p99 ms | CPU ms a request | of the generator | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for concurrency in CONCURRENCY:
        found = {name: median(rounds[concurrency, name]) for name in asked}
        ratio = found["Meritorder"]["per_second"] / found["mlflow models serve"]["per_second"]
        for name, figures in found.items():
            print(
                f"| {concurrency} | {name} | {figures['per_second']:,.0f} | {figures['p50_ms']:.2f} "
                f"| {figures['p99_ms']:.2f} | {figures['cpu_ms']:.2f} | {figures['generator_cpu_ms']:.3f} "
                f"| {f'**{ratio:.1f} ×**' if name == 'Meritorder' else ''} |"
            )


if __name__ == "__main__":
    main()
