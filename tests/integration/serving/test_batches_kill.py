"""A gateway killed in the middle of a batch: the next one goes on with what was not answered, and no answer is lost."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import sqlalchemy as sa
from pydantic import SecretStr

from store import llm_batches, workspaces
from store.database import migrate, session
from store.settings import Settings
from store.tables.gateway import LlmCallRow

LINES = 120
ENDED = ("completed", "failed", "expired", "cancelled")


def content(count: int) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "custom_id": f"r{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": "simulated/nano",
                    "max_tokens": 60,
                    "messages": [{"role": "user", "content": f"What is {number} + 3?"}],
                },
            }
        ).encode()
        for number in range(count)
    )


def begun(client: openai.OpenAI, priority: int = 5) -> Any:
    file = client.files.create(file=content(LINES), purpose="batch")
    return client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        extra_body={"merit": {"priority": priority}},
    )


def until(client: openai.OpenAI, batch_id: str, condition: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 120
    while not condition(batch := client.batches.retrieve(batch_id)):
        assert time.monotonic() < deadline, batch
        time.sleep(0.02)
    return batch


def check_bill(settings: Settings, simulator: Any, batch_id: str, answers: list[dict[str, Any]]) -> None:
    """Every answer is charged and in the ledger once; what was lost on the way is in the ledger, at what it may cost
    at most."""
    assert [one["custom_id"] for one in answers] == [f"r{number}" for number in range(LINES)]
    # The bill names answers without the prefix that OpenAI's have.
    told = {one["response"]["request_id"]: one["response"]["body"]["id"].partition("-")[2] for one in answers}
    assert len(told) == len(set(told.values())) == LINES
    charges = simulator._call("GET", "bill?limit=10000")["charges"]
    cost = {one["id"]: one["cost"] for one in charges}
    assert len(cost) == len(charges)
    with session(settings, readonly=True) as opened:
        calls = {one.id: one for one in opened.scalars(sa.select(LlmCallRow))}
    assert {calls[call].outcome for call in told} == {"ok"}
    assert all(calls[call].cost == cost[answer] for call, answer in told.items())
    lost = [one for one in calls.values() if one.id not in told]
    lost_cost = {answer: spent for answer, spent in cost.items() if answer not in told.values()}
    assert len(lost_cost) <= len(lost) <= 2 * 8
    assert {one.outcome for one in lost} <= {"unknown", "cancelled", "ok"}
    assert all(one.cost == one.reserved > 0 for one in lost if one.outcome == "unknown")
    assert sum(lost_cost.values()) <= sum(one.cost for one in lost)
    assert llm_batches.get(settings, batch_id).cost == sum(calls[call].cost for call in told)


def test_the_next_gateway_goes_on(
    settings: Settings, api_process: Callable[..., Any], simulator: Any, tmp_path: Path
) -> None:
    secret = base64.b64encode(os.urandom(32)).decode()
    settings = settings.model_copy(update={"data_key": SecretStr(secret)})
    migrate(settings)
    workspaces.put(settings, "default", "default", {"keep": "encrypted"})
    simulator.speed(0.25)  # ten seconds for all of them: it is killed in the middle
    processes: list[Any] = []

    def start() -> openai.OpenAI:
        log = tmp_path / f"{len(processes)}.log"
        variables = {"MERIT_SIMULATOR_PORT": str(simulator.port), "MERIT_DATA_KEY": secret}
        processes.append(api_process(settings, log, **variables))
        processes[-1].wait("/healthz")
        return openai.OpenAI(base_url=f"{processes[-1].url}/v1", api_key="none", max_retries=0)

    try:
        client = start()
        batch = begun(client)
        answered: dict[int, bytes] = {}
        for how in (signal.SIGKILL, signal.SIGTERM):
            least = len(answered) + 10
            until(client, batch.id, lambda one, least=least: one.request_counts.completed >= least)
            processes[-1].stop(how)
            kept = {one.line: one.answer for one in llm_batches.lines(settings, batch.id)}
            assert least <= len(kept) < LINES
            assert kept.items() >= answered.items()
            answered = kept
            client = start()
        simulator.speed(0)
        done = until(client, batch.id, lambda one: one.status in ENDED)
        assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("completed", LINES, 0)
        # What was kept is still as it was: nobody asked it again.
        assert {one.line: one.answer for one in llm_batches.lines(settings, batch.id)}.items() >= answered.items()
        answers = [json.loads(one) for one in client.files.content(done.output_file_id).text.splitlines()]
        processes[-1].stop()  # with it, the ledger is whole
        check_bill(settings, simulator, batch.id, answers)
    finally:
        for process in processes:
            process.stop(signal.SIGKILL)


def test_two_gateways_share_the_work_and_one_takes_over_from_the_other(
    settings: Settings,
    postgres_url: str,
    redis_url: str,
    api_process: Callable[..., Any],
    simulator: Any,
    tmp_path: Path,
) -> None:
    settings = settings.model_copy(update={"database_url": SecretStr(postgres_url)})
    simulator.speed(0.3)  # seventeen seconds for a batch: both have more than enough to do
    shared = {"MERIT_SIMULATOR_PORT": str(simulator.port), "MERIT_REDIS_URL": redis_url, "MERIT_BATCH_CONCURRENCY": "4"}
    processes = [api_process(settings, tmp_path / f"{number}.log", **shared) for number in range(2)]
    try:
        for process in processes:
            process.wait("/healthz")
        clients = [openai.OpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0) for one in processes]
        batches = [begun(clients[0], priority) for priority in (3, 3)]
        for batch in batches:
            until(clients[0], batch.id, lambda one: one.request_counts.completed >= 3)
        owners = {_owner(settings, batch.id): batch for batch in batches}
        assert len(owners) == 2
        dead = next(owner for owner in owners if f"-{processes[0].process.pid}-" in owner)
        processes[0].stop(signal.SIGKILL)
        simulator.speed(0)
        # As if the time of its claim were over.
        llm_batches.hold(settings, dead, 0)
        for batch in batches:
            done = until(clients[1], batch.id, lambda one: one.status in ENDED)
            assert (done.status, done.request_counts.completed) == ("completed", LINES)
            answers = [json.loads(one) for one in clients[1].files.content(done.output_file_id).text.splitlines()]
            assert [one["custom_id"] for one in answers] == [f"r{number}" for number in range(LINES)]
    finally:
        for process in processes:
            process.stop(signal.SIGKILL)


def _owner(settings: Settings, batch_id: str) -> str:
    from store.tables.gateway import BatchRow

    with session(settings, readonly=True) as opened:
        owner = opened.scalar(sa.select(BatchRow.claimed_by).where(BatchRow.id == batch_id))
    assert owner is not None
    return owner
