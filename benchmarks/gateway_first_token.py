"""What the gateway adds to the time until the first piece of a stream has content; and 128 streams at once.

    python -m benchmarks.gateway_first_token [--calls 1000] [--streams 128]

The same request is streamed in turn from the simulated provider itself and through a worker with everything on, at one
and at eight calls at a time; added is the difference of the same percentile. Then so many streams run at once, and
each has to give the text that the provider gives when it is asked directly: no frame lost, none out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks.gateway_peers import Peer, meritorder, upstream

_BODY: dict[str, Any] = {
    "model": "nano",
    "messages": [{"role": "user", "content": "Write a page about the rivers of France, their sources and their seas."}],
    "max_tokens": 400,
    "stream": True,
}


async def first_and_text(session: aiohttp.ClientSession, peer: Peer) -> tuple[float, str]:
    """Milliseconds until the first content, and all of the text.

    Raises
    ------
    SystemExit : the stream failed or was not ended.
    """
    begin, first, pieces, ended = time.perf_counter(), 0.0, [], False
    async with session.post(peer.url, json=peer.body, headers=peer.headers) as answer:
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            if line.strip() == b"data: [DONE]":
                ended = True
                continue
            chunk = json.loads(line[6:])
            text = (chunk["choices"][0]["delta"].get("content") or "") if chunk.get("choices") else ""
            if text and not first:
                first = 1000 * (time.perf_counter() - begin)
            pieces.append(text)
    if not ended or not first:
        raise SystemExit(f"{peer.name}: a stream was not whole")
    return first, "".join(pieces)


async def measure(peers: list[Peer], calls: int, at_once: int) -> list[np.ndarray]:
    """Milliseconds until the first content, of each server."""
    found: list[list[float]] = [[] for _ in peers]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for number in range(calls // at_once):
            for place, peer in enumerate(peers):
                answers = await asyncio.gather(*(first_and_text(session, peer) for _ in range(at_once)))
                if number >= 20:  # the first ones open connections
                    found[place] += [first for first, _ in answers]
    return [np.array(one) for one in found]


async def all_whole(direct: Peer, peer: Peer, streams: int) -> float:
    """Seconds that so many streams at once took; every one gave the provider's own text."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        _, text = await first_and_text(session, direct)
        begin = time.perf_counter()
        answers = await asyncio.gather(*(first_and_text(session, peer) for _ in range(streams)))
        took = time.perf_counter() - begin
    wrong = sum(one != text for _, one in answers)
    if wrong:
        raise SystemExit(f"{wrong} of {streams} streams gave another text than the provider")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=128)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with upstream(folder) as base:
            direct = Peer("the provider, asked directly", f"{base}/v1/chat/completions", _BODY)
            with meritorder(base, {**_BODY, "model": "simulated/nano"}, folder) as peer:
                print("| first content, ms | p50 | p99 | added p50 | added p99 |")
                print("|---|---|---|---|---|")
                for at_once in (1, 8):
                    times = asyncio.run(measure([direct, peer], chosen.calls, at_once))
                    base_50, base_99 = np.percentile(times[0], (50, 99))
                    for one, server in zip(times, (direct, peer), strict=True):
                        p50, p99 = np.percentile(one, (50, 99))
                        added = f"{p50 - base_50:.2f} | {p99 - base_99:.2f}" if server is peer else " | "
                        print(f"| {server.name}, {at_once} at a time | {p50:.2f} | {p99:.2f} | {added} |")
                took = asyncio.run(all_whole(direct, peer, chosen.streams))
                print(f"\n{chosen.streams} streams at once: every frame there and in order, {took:.2f} s in all.")


if __name__ == "__main__":
    main()
