"""What a shadow costs those who ask the champion.

    python benchmarks/monitor_shadow.py [--seconds 4] [--rounds 3]

One API over one CatBoost model, as in `serving_speed.py`; the same customer is asked by features at concurrency 1 and
16, in turns without a shadow and with one (the same model registered again), within one run. What the shadow could not
keep up with it drops: the last column says how much it answered.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from serving_speed import CONCURRENCY, HERE, free_port, measure, median, prepare, server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ.update({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        body, _ = prepare(root)
        (root / "body.json").write_text(json.dumps(body))
        key = (root / "key").read_text()
        version, settings, registry = _challenger(root)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "uvicorn", "serving.app:create_app", "--factory", "--no-access-log"]
        environment = {"MERIT_HOME": str(root / "home"), "PYTHONPATH": str(HERE.parent), "MERIT_WATCH_SECONDS": "0.3"}
        from store import keys, shadows

        admin = keys.create(settings, "admin", "admin")[1]
        rounds: dict[tuple[int, str], list[dict[str, float]]] = {}
        with server([*command, "--port", str(port)], f"{url}/readyz?models=churn", root / "log", environment) as group:
            for concurrency in CONCURRENCY:
                for number in range(arguments.rounds + 1):  # the first warms up
                    for name in ("without", "with"):
                        if name == "with":
                            shadows.start(settings, registry, "churn", version, actor="benchmark")
                        else:
                            shadows.stop(settings, registry, "churn", actor="benchmark")
                        time.sleep(1.5)
                        before = _counts(url, admin)
                        address = f"{url}/v1/churn/predictions"
                        figures = measure(group, address, root / "body.json", arguments.seconds, concurrency, key)
                        after = _counts(url, admin)
                        if number:
                            asked = figures["requests"]
                            figures["answered"] = (after["answered"] - before["answered"]) / asked
                            rounds.setdefault((concurrency, name), []).append(figures)
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} CPUs, load average {load:.1f} at the end, {arguments.rounds} rounds\n")
    print("| concurrency | shadow | requests/s | p50 ms | p99 ms | CPU ms a request | questions the shadow answered |")
    print("|---|---|---|---|---|---|---|")
    for (concurrency, name), measured in rounds.items():
        found = median(measured)
        share = f"{found['answered']:.0%}" if name == "with" else ""
        print(
            f"| {concurrency} | {name} | {found['per_second']:,.0f} | {found['p50_ms']:.2f} | {found['p99_ms']:.2f} "
            f"| {found['cpu_ms']:.2f} | {share} |"
        )


def _challenger(root: Path) -> tuple[int, Any, Any]:
    """The champion's model registered once more."""
    from models.families import Spec
    from store.registry import Registry
    from store.settings import Settings

    settings = Settings(home=root / "home")
    registry = Registry(settings)
    model = Spec("churn", "churn").build().load(root / "model")
    with registry.run("churn", "challenger", {}) as run:
        tags = {"family": "churn", "dataset_digest": "1" * 64, "candidate": "catboost"}
        return registry.register("churn", root / "model", run.id, model.signature(), tags), settings, registry


def _counts(url: str, key: str) -> dict[str, int]:
    request = urllib.request.Request(
        f"{url}/v1/registry/models/churn/shadow?since=2100-01-01", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        here = json.load(answer)["here"]
    return {"answered": here["answered"] if here else 0}


if __name__ == "__main__":
    main()
