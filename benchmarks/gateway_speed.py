"""The gateway beside its peers: the same upstream, the same run, the same load generator (`wrk`).

    python -m benchmarks.gateway_speed [--seconds 6] [--rounds 3] [--peers PEERS]

Each server has one worker and is measured alone, in turn, `rounds` times; the median of the rounds is told. The
upstream answers without delay, so that what is left is the gateway's own time: what a server adds at concurrency 1 is
its median less that of the upstream asked directly. `PEERS` holds Portkey and LiteLLM; see `benchmarks.gateway_peers`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median

from benchmarks.gateway_peers import Peer, litellm, meritorder, passthrough, portkey, upstream

_BODY = {
    "model": "nano",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant of an energy company."},
        {"role": "user", "content": "Name three rivers in France and say into which sea each of them flows, please."},
    ],
    "max_tokens": 100,
}
_SCRIPT = """
wrk.method = "POST"
wrk.body = [==[%s]==]
wrk.headers["Content-Type"] = "application/json"
%s
"""
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def measure(peer: Peer, connections: int, seconds: float, folder: Path) -> dict[str, float]:
    """Requests per second, and the median and 99th percentile of the time of one, in milliseconds.

    Raises
    ------
    SystemExit : not every answer was a success.
    """
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in peer.headers.items())
    script = folder / "request.lua"
    script.write_text(_SCRIPT % (json.dumps(peer.body), headers))
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script), peer.url]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in told:
        raise SystemExit(f"{peer.name} does not answer every request:\n{told}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    times = {name: re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", told) for name in ("50", "99")}
    assert rate is not None
    found = {"rate": float(rate[1])}
    for name, match in times.items():
        assert match is not None
        found[f"p{name}"] = float(match[1]) * _UNITS[match[2]]
    return found


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its children, in MB."""
    rows = subprocess.run(["ps", "-eo", "pid,ppid,rss"], check=True, capture_output=True, text=True).stdout.split("\n")
    table = [tuple(map(int, row.split())) for row in rows[1:] if row.strip()]
    family = {pid}
    for _ in range(4):
        family |= {number for number, parent, _ in table if parent in family}
    return sum(rss for number, _, rss in table if number in family) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path, help="folder with portkey/ and litellm/")
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: on Debian, `apt-get install wrk`.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with upstream(folder) as base:
            _compare(base, folder, chosen.seconds, chosen.rounds, chosen.peers)


def _compare(base: str, folder: Path, seconds: float, rounds: int, peers: Path | None) -> None:
    direct = Peer("upstream, asked directly", f"{base}/v1/chat/completions", _BODY)
    starts: list[tuple[str, Callable[[], AbstractContextManager[Peer]]]] = [
        ("passthrough", lambda: passthrough(base, _BODY, folder)),
        ("meritorder, one model", lambda: meritorder(base, {**_BODY, "model": "simulated/nano"}, folder)),
        ("meritorder, auto", lambda: meritorder(base, {**_BODY, "model": "auto"}, folder)),
    ]
    if peers is not None:
        starts += [
            ("portkey", lambda: portkey(base, _BODY, folder, peers)),
            ("litellm", lambda: litellm(base, _BODY, folder, peers)),
        ]
    measure(direct, 1, 1.0, folder)
    results: dict[str, list[dict[int, dict[str, float]]]] = {}
    memory: dict[str, float] = {}
    for _ in range(rounds):
        results.setdefault(direct.name, []).append({one: measure(direct, one, seconds, folder) for one in (1, 64)})
        for name, start in starts:
            with start() as peer:
                measure(peer, 8, 2.0, folder)
                label = f"{peer.name}, auto" if "auto" in name else peer.name
                results.setdefault(label, []).append({one: measure(peer, one, seconds, folder) for one in (1, 64)})
                memory[label] = memory_mb(peer.pid)
    _show(results, memory, direct.name)


def _show(results: dict[str, list[dict[int, dict[str, float]]]], memory: dict[str, float], direct: str) -> None:
    base = median(one[1]["p50"] for one in results[direct])
    print("| server | req/s at 64 | median ms at 64 | p99 ms at 64 | req/s at 1 | added median ms at 1 | memory MB |")
    print("|---|---|---|---|---|---|---|")
    for name, rounds in results.items():
        rate64, p50, p99 = (median(one[64][key] for one in rounds) for key in ("rate", "p50", "p99"))
        rate1, first = (median(one[1][key] for one in rounds) for key in ("rate", "p50"))
        added = "" if name == direct else f"{first - base:.2f}"
        held = "" if name not in memory else f"{memory[name]:.0f}"
        print(f"| {name} | {rate64:,.0f} | {p50:.1f} | {p99:.1f} | {rate1:,.0f} | {added} | {held} |")


if __name__ == "__main__":
    main()
