"""One price recommendation over HTTP, every product at once, and a scenario, with everything on.

    python -m benchmarks.pricing_speed [--seconds 4] [--products 20]

Trains on synthetic sales through the whole lifecycle, serves the promoted model with one worker – keys, validation,
every recommendation written to the database – and sends the same question from a load generator in its own process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.serving_speed import HERE, cpu_seconds, free_port, server


def sales(products: int, weeks: int = 52, stores: int = 3, seed: int = 5) -> pd.DataFrame:
    """Weekly sales of each product in each store, elasticities between −1.2 and −3, prices changed at random."""
    rng = np.random.default_rng(seed)
    elasticity = np.linspace(-1.2, -3.0, products)
    grid = pd.MultiIndex.from_product(
        [range(products), range(stores), range(weeks)], names=["product", "store", "week"]
    ).to_frame(index=False)
    price = (3 + grid["product"] % 7) * rng.choice([0.8, 0.9, 1.0, 1.1], len(grid))
    response = elasticity[grid["product"]] * np.log(price / (3 + grid["product"] % 7))
    level = 3.5 + 0.1 * grid["store"] + rng.normal(0, 0.1, len(grid))
    return pd.DataFrame(
        {
            "product": "p" + grid["product"].astype(str).str.zfill(3),
            "store": "s" + grid["store"].astype(str),
            "week": pd.Timestamp("2024-01-01") + pd.to_timedelta(7 * grid["week"], unit="D"),
            "price": price.round(2),
            "cost": (1.2 + 0.2 * (grid["product"] % 7)).round(2),
            "quantity": rng.poisson(np.exp(level + response)),
        }
    )


def prepare(root: Path, products: int) -> float:
    """Train, register and promote; returns the seconds of the training."""
    from models.families import Spec
    from models.lifecycle.training import train
    from models.pricing.from_file import prepare as read
    from store import keys
    from store.database import migrate
    from store.promotions import promote
    from store.registry import Registry
    from store.settings import Settings

    sales(products).to_csv(root / "sales.csv", index=False)
    settings = Settings(home=root / "home", threads=1)
    migrate(settings)
    begin = time.perf_counter()
    columns = {"product": "product", "price": "price", "quantity": "quantity", "time": "week", "group": "store"}
    ref, notes = read(root / "sales.csv", settings.root / "datasets", cost="cost", **columns)
    spec = Spec("pricing", "pricing", {"seed": settings.seed})
    _, outcome = train(settings, spec, ref, actor="benchmark", notes=notes)
    if outcome.champion is None:  # how well it foresees sales is not the matter here
        promote(settings, Registry(settings), "pricing", 1, expected=None, actor="benchmark", reason="benchmark")
    _, secret = keys.create(settings, "benchmark", "application")
    (root / "key").write_text(secret)
    return time.perf_counter() - begin


def measure(group: int, url: str, body: Path, seconds: float, key: str) -> dict[str, float]:
    before = cpu_seconds(group)
    command = [sys.executable, str(HERE / "http_load.py"), url, str(body), "--seconds", str(seconds), "--key", key]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    assert figures["errors"] == 0, done.stdout
    figures["cpu_ms"] = 1000 * (cpu_seconds(group) - before) / figures["requests"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--products", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        took = prepare(root, arguments.products)
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "serving.app:create_app", "--factory", "--no-access-log"]
        base = f"http://127.0.0.1:{port}"
        asked: dict[str, tuple[str, dict[str, Any]]] = {
            "one recommendation": ("recommendations", {"product": "p003"}),
            f"all {arguments.products} products": ("recommendations", {}),
            "a scenario of 28 days": ("simulations", {"prices": {"p003": 6.0}, "horizon_days": 28}),
        }
        with server(
            [*command, "--port", str(port)],
            f"{base}/readyz?models=pricing",
            root / "api.log",
            {"MERIT_HOME": str(root / "home"), "PYTHONPATH": str(HERE.parent)},
        ) as group:
            print(f"Training on {arguments.products} products in 3 stores over 52 weeks: {took:.1f} s")
            print(f"One worker, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f}, concurrency 1\n")
            print("| asked | p50 ms | p99 ms | CPU ms a request |")
            print("|---|---|---|---|")
            for name, (path, body) in asked.items():
                file = root / "body.json"
                file.write_text(json.dumps(body))
                url, key = f"{base}/v1/pricing/{path}", (root / "key").read_text()
                measure(group, url, file, 1.0, key)  # warms up
                found = measure(group, url, file, arguments.seconds, key)
                print(f"| {name} | {found['p50_ms']:.2f} | {found['p99_ms']:.2f} | {found['cpu_ms']:.2f} |")


if __name__ == "__main__":
    main()
