"""The gateway beside its peers: the same upstream, the same run, the same load generator (`wrk`).

    python -m benchmarks.gateway_speed [--seconds 2] [--rounds 7] [--peers PEERS]

Each server has one worker. All are started, and one after the other is asked alone, `rounds` times around: what
else a machine does in some minutes then meets them all. Shares are those of one round, and the median of the rounds is
told. The upstream answers without delay, so that what is left is the gateway's own time: what a server adds at
concurrency 1 is its median less that of the upstream asked directly. `PEERS` holds Portkey and LiteLLM; see
`benchmarks.gateway_peers`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from contextlib import AbstractContextManager, ExitStack
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
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", type=Path, help="folder with portkey/ and litellm/")
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: on Debian, `apt-get install wrk`.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with upstream(folder) as base:
            _compare(base, folder, chosen.seconds, chosen.rounds, chosen.peers)


def _compare(base: str, folder: Path, seconds: float, rounds: int, peers: Path | None) -> None:
    starts: list[AbstractContextManager[Peer]] = [
        passthrough(base, _BODY, folder),
        meritorder(base, {**_BODY, "model": "simulated/nano"}, folder),
        meritorder(base, {**_BODY, "model": "auto"}, folder),
    ]
    if peers is not None:
        starts += [portkey(base, _BODY, folder, peers), litellm(base, _BODY, folder, peers)]
    direct = Peer("upstream, asked directly", f"{base}/v1/chat/completions", _BODY)
    results: list[list[dict[int, dict[str, float]]]] = []
    with ExitStack() as stack:
        servers = [direct, *(stack.enter_context(start) for start in starts)]
        for server in servers:
            measure(server, 8, 2.0, folder)
        for _ in range(rounds):
            results.append([{one: measure(server, one, seconds, folder) for one in (1, 64)} for server in servers])
        memory = [memory_mb(server.pid) if server.pid else None for server in servers]
    _show([server.name for server in servers], results, memory)


def _show(names: list[str], rounds: list[list[dict[int, dict[str, float]]]], memory: list[float | None]) -> None:
    """The table: the upstream is the first, the pass-through the second of the servers."""
    columns = ["server", "req/s at 64", "of the pass-through's", "median ms at 64", "p99 ms at 64", "req/s at 1"]
    print(f"| {' | '.join([*columns, 'added median ms at 1', 'memory MB'])} |")
    print("|---|---|---|---|---|---|---|---|")
    for place, name in enumerate(names):
        rate64, p50, p99 = (median(one[place][64][key] for one in rounds) for key in ("rate", "p50", "p99"))
        rate1 = median(one[place][1]["rate"] for one in rounds)
        share = f"{median(one[place][64]['rate'] / one[1][64]['rate'] for one in rounds):.1%}" if place else ""
        added = f"{median(one[place][1]['p50'] - one[0][1]['p50'] for one in rounds):.2f}" if place else ""
        held = "" if memory[place] is None else f"{memory[place]:.0f}"
        print(f"| {name} | {rate64:,.0f} | {share} | {p50:.1f} | {p99:.1f} | {rate1:,.0f} | {added} | {held} |")


if __name__ == "__main__":
    main()
