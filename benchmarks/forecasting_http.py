"""Milliseconds of a 90-day forecast from the promoted model, over HTTP.

    python -m benchmarks.forecasting_http

Registers and promotes a forecaster of the demo world's business series (two quick members: an answer is a look-up
whatever the members were), starts the API as a process of its own, and times: the first request after the champion was
loaded, then `POST /v1/forecasts` for one series and for all of them, reading the numbers as JSON, `capacity`, and a
decomposition. Every forecast is written to the database before it is answered.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np

from benchmarks.forecasting_panels import panel
from models.families import Spec
from store.database import dispose, migrate
from store.promotions import promote
from store.registry import Registry
from store.settings import Settings

PORT = 18_741
NAME = "forecasting"


def promoted(settings: Settings) -> list[str]:
    """A home with a champion; returns the ids of its series."""
    options = {"horizon": 90, "freq": "D", "members": ["SeasonalNaive", "DynamicOptimizedTheta"], "hierarchy": "/"}
    family = Spec(NAME, NAME, options).build()
    frame = panel(7)
    models = {}
    for candidate in family.candidates():
        models[candidate.name] = family.fit(candidate, frame, {}, {need: models[need] for need in candidate.needs})
    final = family.finalise(models["combination"], frame, {})
    folder = settings.root / "model"
    final.save(folder)
    registry = Registry(settings)
    with registry.run(NAME, "benchmark", {}) as run:
        version = registry.register(NAME, folder, run.id, final.signature(), {"family": NAME})
    promote(settings, registry, NAME, version, expected=None, actor="benchmark", reason="a benchmark")
    registry.close()
    dispose(settings)
    return list(final.ids)


def timed(work: Callable[[], httpx.Response], count: int) -> tuple[float, float, float]:
    """Milliseconds of the first call, the median and the 99th percentile of the others."""
    taken = []
    for _ in range(count + 1):
        started = time.perf_counter()
        response = work()
        taken.append(1e3 * (time.perf_counter() - started))
        response.raise_for_status()
    return taken[0], float(np.median(taken[1:])), float(np.quantile(taken[1:], 0.99))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    asked = parser.parse_args()
    with TemporaryDirectory() as place:
        settings = Settings(home=Path(place) / "home", threads=1, port=PORT)
        migrate(settings)
        ids = promoted(settings)
        environment = {**os.environ, "MERIT_HOME": str(settings.home), "MERIT_PORT": str(PORT)}
        command = [sys.executable, "-m", "uvicorn", "serving.app:create_app", "--factory", "--port", str(PORT)]
        log = settings.root / "api.log"
        with log.open("wb") as output:
            api = subprocess.Popen([*command, "--no-access-log"], env=environment, stdout=output, stderr=output)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as client:
                ready = False
                while not ready:
                    try:
                        ready = client.get(f"/readyz?models={NAME}").status_code == 200
                    except httpx.TransportError:
                        assert api.poll() is None, log.read_text()
                    time.sleep(0.1)
                one = {"series": ids[:1], "horizon": 90}
                made = ""

                def forecast(body: dict[str, object]) -> httpx.Response:
                    nonlocal made
                    response = client.post("/v1/forecasts", json=body)
                    made = response.json()["id"]
                    return response

                threshold = {"series": "api_calls/total", "threshold": 1e6}
                works: list[tuple[str, Callable[[], httpx.Response]]] = [
                    ("one series, 90 days", lambda: forecast(one)),
                    (f"all {len(ids)} series, 90 days", lambda: forecast({})),
                    ("its numbers as JSON", lambda: client.get(f"/v1/forecasts/{made}/data")),
                    ("when is a threshold crossed", lambda: client.post("/v1/forecasts/capacity", json=threshold)),
                    ("a decomposition", lambda: client.get("/v1/forecasts/series/api_calls/total/decomposition")),
                ]
                print("| request | first ms | median ms | p99 ms |\n|---|---|---|---|")
                for label, work in works:
                    first, median, worst = timed(work, asked.requests)
                    print(f"| {label} | {first:.1f} | {median:.1f} | {worst:.1f} |", flush=True)
        finally:
            api.terminate()
            api.wait(30)


if __name__ == "__main__":
    main()
