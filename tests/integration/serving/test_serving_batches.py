"""Files and batches with the client that applications use, over the API as a process of its own."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from gateway.prompt import Tenant
from store import keys, llm_batches, workspaces
from store.database import dispose, migrate, session
from store.llm_batches import Batch
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.gateway import BatchLineRow, BatchRow, LlmCallRow

ENDED = ("completed", "failed", "expired", "cancelled")
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Api:
    """A running API with keys: app and other (application), sealed and plain (application, of workspaces that keep
    words encrypted and plain), analyst (of the workspace plain), boss (analyst of the platform)."""

    settings: Settings
    url: str
    keys: dict[str, str]

    def client(self, key: str = "app") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.keys[key], max_retries=0)

    def calls(self, batch_id: str, count: int) -> list[LlmCallRow]:
        """So many lines of the ledger, which is a little behind."""
        deadline = time.monotonic() + 60
        while True:
            with session(self.settings, readonly=True) as opened:
                found = list(opened.scalars(sa.select(LlmCallRow).where(LlmCallRow.batch == batch_id)))
            if len(found) >= count or time.monotonic() > deadline:
                assert len(found) == count
                return found
            time.sleep(0.02)


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, api_process: Callable[..., Any], simulator_process: Any
) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("batches")
    secret = base64.b64encode(os.urandom(32)).decode()
    settings = Settings(home=folder / "home", data_key=SecretStr(secret))
    migrate(settings)
    for keep in ("encrypted", "plain"):
        workspaces.put(settings, keep, "default", {"keep": keep})
    made = {
        name: keys.create(settings, name, role, workspace=workspace)[1]
        for name, role, workspace in (
            ("app", "application", None),
            ("other", "application", None),
            ("sealed", "application", "encrypted"),
            ("plain", "application", "plain"),
            ("analyst", "analyst", "plain"),
            ("boss", "analyst", None),
        )
    }
    process = api_process(
        settings,
        folder / "api.log",
        MERIT_SIMULATOR_PORT=str(simulator_process.port),
        MERIT_DATA_KEY=secret,
        MERIT_MAX_FILE_BYTES="200000",
        MERIT_BATCH_CONCURRENCY="4",
    )
    try:
        process.wait("/healthz")
        yield Api(settings, process.url, made)
    finally:
        process.stop()
        dispose(settings)


def lines(count: int, model: str = "simulated/nano", **body: Any) -> bytes:
    """Requests r0, r1, …, of which each is asked something else."""
    told = [
        {
            "custom_id": f"r{number}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": model, "messages": [{"role": "user", "content": f"What is {number} + 3?"}], **body},
        }
        for number in range(count)
    ]
    return b"\n".join(json.dumps(one).encode() for one in told)


def begin(client: openai.OpenAI, content: bytes, endpoint: str = CHAT, **merit: Any) -> Any:
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id,
        endpoint=endpoint,  # type: ignore[arg-type]
        completion_window="24h",
        extra_body={"merit": merit} if merit else None,
    )


def ended(client: openai.OpenAI, batch_id: str, seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while (batch := client.batches.retrieve(batch_id)).status not in ENDED:
        assert time.monotonic() < deadline, batch
        time.sleep(0.02)
    return batch


def results(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [json.loads(one) for one in client.files.content(file_id).text.splitlines()] if file_id else []


def test_a_file_is_uploaded_listed_read_and_deleted(api: Api) -> None:
    client = api.client()
    content = os.urandom(150_000)
    file = client.files.create(file=('a/b\\c "ü" ☃.bin', content), purpose="user_data")
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", 150_000, 'c "ü" ☃.bin', "user_data")
    assert file.expires_at is not None
    assert file.expires_at - file.created_at == 30 * 86_400
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).content == content
    assert file.id in [one.id for one in client.files.list(purpose="user_data", limit=2)]
    shorter = client.files.create(file=b"{}", purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})
    assert (shorter.filename, shorter.expires_at) == ("upload", shorter.created_at + 3600)
    assert client.files.delete(file.id).deleted
    for missing in (lambda: client.files.retrieve(file.id), lambda: client.files.content(file.id)):
        with pytest.raises(openai.NotFoundError) as caught:
            missing()
        assert caught.value.body["param"] == "file_id"  # type: ignore[index]
    assert not (api.settings.root / "files" / file.id).exists()


def test_pages_of_files_are_gone_through(api: Api) -> None:
    client = api.client("other")
    made = [client.files.create(file=b"x", purpose="evals").id for _ in range(5)]
    assert [one.id for one in client.files.list(purpose="evals", limit=2, order="asc")] == made
    assert [one.id for one in client.files.list(purpose="evals", limit=2)] == made[::-1]


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"files": {"file": b"x"}}, "purpose"),
        ({"files": {"file": b"x"}, "data": {"purpose": "world domination"}}, "purpose"),
        ({"files": {"data": b"x"}, "data": {"purpose": "batch"}}, "file"),
        ({"files": [("file", b"x"), ("file", b"y")], "data": {"purpose": "batch"}}, "file"),
        ({"files": {"file": b"x"}, "data": {"purpose": "batch" * 1000}}, "purpose"),
        (
            {"files": {"file": b"x"}, "data": {"purpose": "batch", "expires_after[seconds]": "60"}},
            "expires_after[seconds]",
        ),
        (
            {
                "files": {"file": b"x"},
                "data": {"purpose": "batch", "expires_after[seconds]": "7200", "expires_after[anchor]": "later"},
            },
            "expires_after[anchor]",
        ),
        ({"json": {"purpose": "batch"}}, "Content-Type"),
        ({"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, "body"),
    ],
)
def test_a_form_that_does_not_fit_is_told_and_leaves_nothing(api: Api, form: dict[str, Any], param: str) -> None:
    folder = api.settings.root / "files"
    folder.mkdir(exist_ok=True)
    before = sorted(one.name for one in folder.iterdir())
    headers = {"Authorization": f"Bearer {api.keys['app']}", **form.pop("headers", {})}
    answer = httpx.post(f"{api.url}/v1/files", headers=headers, timeout=60, **form)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["param"] == param
    assert sorted(one.name for one in folder.iterdir()) == before


def test_a_file_that_is_too_large_is_refused_however_it_comes(api: Api) -> None:
    folder = api.settings.root / "files"
    before = sorted(one.name for one in folder.iterdir())
    with pytest.raises(openai.APIStatusError) as caught:
        api.client().files.create(file=bytes(300_000), purpose="batch")
    assert caught.value.status_code == 413
    assert "MERIT_MAX_FILE_BYTES" in caught.value.response.json()["remedy"]

    def chunks() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(50):
            yield bytes(10_000)
        yield b"\r\n--x--\r\n"

    headers = {
        "Authorization": f"Bearer {api.keys['app']}",
        "Content-Type": "multipart/form-data; boundary=x",
    }
    assert httpx.post(f"{api.url}/v1/files", content=chunks(), headers=headers, timeout=60).status_code in (413, 422)
    # Larger than other bodies, it is taken for a file alone.
    large = httpx.post(f"{api.url}/v1/chat/completions", content=bytes(5_100_000), headers=headers, timeout=60)
    assert large.status_code == 413
    assert sorted(one.name for one in folder.iterdir()) == before


def test_a_client_that_goes_away_leaves_nothing(api: Api) -> None:
    import socket

    folder = api.settings.root / "files"
    before = sorted(one.name for one in folder.iterdir())
    host = httpx.URL(api.url)
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: {host.host}:{host.port}\r\nAuthorization: Bearer {api.keys['app']}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 150000\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    )
    with socket.create_connection((host.host, host.port or 80)) as connection:
        connection.sendall(head.encode() + bytes(70_000))
        deadline = time.monotonic() + 60
        while sorted(one.name for one in folder.iterdir()) == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    while sorted(one.name for one in folder.iterdir()) != before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nobody_sees_files_and_batches_of_others(api: Api, simulator: Any) -> None:
    mine, own = api.client("plain"), api.client("analyst")
    batch = begin(mine, lines(1))
    done = ended(mine, batch.id)
    files = [batch.input_file_id, done.output_file_id]
    for name in ("app", "other", "sealed"):
        stranger = api.client(name)
        for file in files:
            for act in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
                with pytest.raises(openai.NotFoundError):
                    act(file)
        for act in (stranger.batches.retrieve, stranger.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                act(batch.id)
        with pytest.raises(openai.NotFoundError):
            stranger.batches.create(input_file_id=files[0], endpoint=CHAT, completion_window="24h")
        assert not {one.id for one in stranger.files.list()} & set(files)
        assert batch.id not in [one.id for one in stranger.batches.list()]
    for name in ("analyst", "boss"):
        assert {one.id for one in api.client(name).files.list()} >= set(files)
        assert api.client(name).batches.retrieve(batch.id).id == batch.id
    assert own.files.content(files[1]).text
    for path in ("/v1/files", f"/v1/files/{files[0]}", f"/v1/files/{files[0]}/content", "/v1/batches"):
        assert httpx.get(api.url + path).status_code == 401
    assert httpx.post(f"{api.url}/v1/files").status_code == 401


def test_what_a_workspace_keeps_encrypted_is_nowhere_plain(api: Api, simulator: Any) -> None:
    client = api.client("sealed")
    marker = "xylophone-7261"
    content = lines(3).replace(b"What is", f"{marker}: what is".encode())
    batch = begin(client, content)
    done = ended(client, batch.id)
    assert done.request_counts.completed == 3
    answers = results(client, done.output_file_id)
    said = [one["response"]["body"]["choices"][0]["message"]["content"] for one in answers]
    assert client.files.content(batch.input_file_id).content == content
    stored = b"".join(path.read_bytes() for path in api.settings.root.rglob("*") if path.is_file())
    for word in (marker, *said):
        assert word.encode() not in stored
    # Plain, as the other workspace wants it, it is found: the search is sound.
    plain = begin(api.client("plain"), content.replace(marker.encode(), b"harpsichord-4433"))
    ended(api.client("plain"), plain.id)
    assert b"harpsichord-4433" in (api.settings.root / "files" / plain.input_file_id).read_bytes()


def test_a_batch_is_answered_in_its_order_and_its_bill_is_the_ledger(api: Api, simulator: Any) -> None:
    client = api.client()
    content = lines(30).splitlines()
    wrong = json.loads(lines(1))
    wrong["custom_id"], wrong["body"]["temperature"] = "too hot", 7
    lost = json.loads(lines(1, model="no/such"))
    lost["custom_id"] = "lost"
    content[5:5] = [json.dumps(wrong).encode(), b"", json.dumps(lost).encode()]
    batch = begin(client, b"\n".join(content), priority=9, user="kim")
    assert (batch.status, batch.output_file_id, batch.merit["priority"]) == ("validating", None, 9)  # type: ignore[attr-defined]
    done = ended(client, batch.id)
    assert done.status == "completed"
    assert done.request_counts.to_dict() == {"total": 32, "completed": 30, "failed": 2}
    answers = results(client, done.output_file_id)
    assert [one["custom_id"] for one in answers] == [f"r{number}" for number in range(30)]
    assert {one["response"]["status_code"] for one in answers} == {200}
    assert all(one["id"] == f"batch_req_{one['response']['request_id']}" for one in answers)
    failures = results(client, done.error_file_id)
    assert [(one["custom_id"], one["response"]["status_code"]) for one in failures] == [("too hot", 422), ("lost", 404)]
    assert failures[0]["response"]["body"]["error"]["param"] == "temperature"
    calls = api.calls(batch.id, 30)
    assert {one.id for one in calls} == {one["response"]["request_id"] for one in answers}
    assert {one.user for one in calls} == {"kim"}
    assert sum(one.cost for one in calls) == simulator.spent() > 0
    assert done.merit["cost"] == pytest.approx(simulator.spent() / 1e9)
    assert done.usage.output_tokens == sum(one.output_tokens for one in calls)
    # Nothing is kept of calls in this workspace, so the answers are in the file alone.
    assert [one.answer for one in llm_batches.lines(api.settings, batch.id)] == [b""] * 32


def test_embeddings_and_other_metadata(api: Api, simulator: Any) -> None:
    client = api.client()
    told = [
        {"custom_id": str(number), "method": "POST", "url": "/v1/embeddings", "body": {"model": "auto", "input": "x"}}
        for number in range(3)
    ]
    file = client.files.create(file=b"\n".join(json.dumps(one).encode() for one in told), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/embeddings",
        completion_window="24h",
        metadata={"night": "12"},
        output_expires_after={"anchor": "created_at", "seconds": 7200},
    )
    done = ended(client, batch.id)
    assert done.metadata == {"night": "12"}
    assert len(results(client, done.output_file_id)) == 3
    output = client.files.retrieve(done.output_file_id)
    assert (output.purpose, output.expires_at) == ("batch_output", output.created_at + 7200)
    assert client.batches.list(limit=1).data[0].id == batch.id


def test_a_file_that_does_not_fit_fails_before_anything_is_asked(api: Api, simulator: Any) -> None:
    client = api.client()
    content = lines(3) + b'\n{"custom_id": "r0"}\n' + lines(1) + b"\nnonsense"
    done = ended(client, begin(client, content).id)
    assert (done.status, done.output_file_id, done.request_counts.total) == ("failed", None, 0)
    assert [(one.line, one.code, one.param) for one in done.errors.data] == [
        (4, "missing_required_parameter", "method"),
        (5, "duplicate_custom_id", "custom_id"),
        (6, "invalid_json_line", None),
    ]
    assert simulator.bill()["count"] == 0


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"completion_window": "1h"}, 422),
        ({"endpoint": "/v1/completions"}, 422),
        ({"input_file_id": "file-" + "0" * 32}, 404),
        ({"merit": {"priority": 10}}, 422),
        ({"merit": {"prioritty": 1}}, 422),
        ({"metadata": {"a": 3}}, 422),
        ({"colour": "red"}, 422),
    ],
)
def test_an_order_that_does_not_fit_is_refused(api: Api, changes: dict[str, Any], status: int) -> None:
    file = api.client().files.create(file=lines(1), purpose="batch")
    order = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **changes}
    answer = httpx.post(f"{api.url}/v1/batches", json=order, headers={"X-API-Key": api.keys["app"]}, timeout=60)
    assert answer.status_code == status, answer.text
    assert answer.json()["remedy"]


def test_a_file_for_something_else_is_no_batch(api: Api) -> None:
    client = api.client()
    file = client.files.create(file=lines(1), purpose="evals")
    with pytest.raises(openai.UnprocessableEntityError, match="uploaded for evals"):
        client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")


def test_a_batch_spends_no_more_than_it_may(api: Api, simulator: Any) -> None:
    client = api.client()
    body = {"max_tokens": 40}
    whole = ended(client, begin(client, lines(10, **body)).id).merit["cost"]
    spent = simulator.spent()
    done = ended(client, begin(client, lines(10, **body), max_cost=whole / 2).id)
    assert done.status == "completed"
    assert 0 < done.request_counts.completed < 10
    assert simulator.spent() - spent <= whole / 2 * 1e9
    errors = [one["response"] for one in results(client, done.error_file_id)]
    assert {one["status_code"] for one in errors} == {402}
    assert {one["body"]["error"]["type"] for one in errors} == {"insufficient_quota"}


def test_rate_limits_of_a_provider_are_waited_for(api: Api, simulator: Any) -> None:
    client = api.client()
    simulator.fault("status", status=429, calls=3, retry_after=0.2)
    done = ended(client, begin(client, lines(6)).id)
    assert (done.status, done.request_counts.completed) == ("completed", 6)


def test_what_fails_again_and_again_is_told(api: Api, simulator: Any) -> None:
    client = api.client()
    simulator.fault("status", status=400, model="simulated/small")
    simulator.fault("truncated", model="simulated/large")
    told = [json.loads(one) for one in lines(4).splitlines()]
    told[1]["body"]["model"], told[2]["body"]["model"] = "simulated/small", "simulated/large"
    done = ended(client, begin(client, b"\n".join(json.dumps(one).encode() for one in told)).id)
    assert (done.request_counts.completed, done.request_counts.failed) == (2, 2)
    refused, broken = (one for one in results(client, done.error_file_id))
    assert (refused["custom_id"], refused["response"]["status_code"]) == ("r1", 400)
    assert (broken["custom_id"], broken["response"]["status_code"]) == ("r2", 502)
    # The one is asked once, the other three times, each with the attempts that every call has.
    asked = [one.model for one in api.calls(done.id, 6)]
    assert (asked.count("simulated/small"), asked.count("simulated/large")) == (1, 3)


def test_a_cancelled_batch_has_what_was_answered_and_tells_the_rest(api: Api, simulator: Any) -> None:
    client = api.client()
    simulator.speed(0.5)  # seventeen seconds for all of them
    batch = begin(client, lines(200))
    while client.batches.retrieve(batch.id).request_counts.completed < 3:
        time.sleep(0.02)
    assert client.batches.cancel(batch.id).status == "cancelling"
    simulator.speed(0)
    done = ended(client, batch.id)
    assert done.status == "cancelled"
    assert done.cancelled_at is not None
    assert done.cancelling_at is not None
    counts = done.request_counts
    answers, errors = results(client, done.output_file_id), results(client, done.error_file_id)
    assert (len(answers), len(errors)) == (counts.completed, counts.failed)
    assert len(answers) + len(errors) == 200
    assert 3 <= len(answers) < 200
    assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}
    api.calls(batch.id, len(answers))
    assert client.files.delete(batch.input_file_id).deleted
    complete = ended(client, begin(client, lines(1)).id)
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(complete.id)


def test_what_is_not_answered_in_a_day_is_told(api: Api, simulator: Any) -> None:
    client = api.client()
    file = client.files.create(file=lines(4), purpose="batch")
    yesterday = utc_now() - timedelta(days=1, seconds=1)
    old = Batch(
        f"batch_{new_id()}", "default", "app", asdict(Tenant(key_name="app")), "in_progress", 5, CHAT, file.id, None,
        None, 4, 1, 0, 0, {}, yesterday, yesterday, None, yesterday + timedelta(days=1),
    )  # fmt: skip
    unchecked = replace(old, id=f"batch_{new_id()}", status="validating", total=0, completed=0, started_at=None)
    answer = b'{"id": null, "custom_id": "r2", "response": {"status_code": 200, "body": {}}, "error": null}'
    with session(api.settings) as opened:
        for one in (old, unchecked):
            opened.add(BatchRow(**one.__dict__))
        opened.flush()
        opened.add(BatchLineRow(batch_id=old.id, line=3, custom_id="r2", status="completed", answer=answer))
    done = ended(client, old.id)
    assert (done.status, done.request_counts.to_dict()) == ("expired", {"total": 4, "completed": 1, "failed": 3})
    assert done.expired_at is not None
    assert [one["custom_id"] for one in results(client, done.output_file_id)] == ["r2"]
    errors = results(client, done.error_file_id)
    assert [one["custom_id"] for one in errors] == ["r0", "r1", "r3"]
    assert {one["error"]["code"] for one in errors} == {"batch_expired"}
    never = ended(client, unchecked.id)
    assert (never.status, never.output_file_id, never.error_file_id) == ("expired", None, None)
    assert simulator.bill()["count"] == 0


def test_an_upload_and_a_batch_without_waiting(api: Api, simulator: Any) -> None:
    import asyncio

    async def work() -> int:
        async with openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key=api.keys["app"]) as client:
            file = await client.files.create(file=("in.jsonl", lines(2)), purpose="batch")
            batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
            while (batch := await client.batches.retrieve(batch.id)).status not in ENDED:
                await asyncio.sleep(0.02)
            assert batch.output_file_id is not None
            return len((await client.files.content(batch.output_file_id)).text.splitlines())

    assert asyncio.run(work()) == 2


def test_the_command_submits_waits_and_brings_the_answers(
    api: Api, simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cli import batch as commands
    from cli.main import main

    monkeypatch.setattr(commands, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr("cli.output.screen._width", 200)
    monkeypatch.setenv("MERIT_API_KEY", api.keys["app"])
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "home"))

    def merit(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["merit", "batch", *words, "--url", api.url])
        with pytest.raises(SystemExit) as done:
            main()
        told = capsys.readouterr()
        return int(done.value.code or 0), told.out, told.err

    file = tmp_path / "in.jsonl"
    file.write_bytes(lines(3))
    code, out, _ = merit("submit", str(file), "--priority", "9", "--max-cost", "1", "--wait", "--json")
    batch = json.loads(out)
    assert (code, batch["status"], batch["merit"]["priority"], batch["merit"]["max_cost"]) == (0, "completed", 9, 1.0)
    code, out, _ = merit("status", batch["id"])
    assert code == 0
    assert "completed, 3 of 3 answered, 0 failed, $0.0000" in out
    assert batch["id"] in merit("list", "--limit", "1")[1]
    target = tmp_path / "out.jsonl"
    assert "3 lines in" in merit("results", batch["id"], "--out", str(target))[1]
    assert [json.loads(one)["custom_id"] for one in target.read_text().splitlines()] == ["r0", "r1", "r2"]
    assert merit("results", batch["id"], "--errors")[1] == ""
    file.write_bytes(b"nonsense")
    code, out, _ = merit("submit", str(file), "--wait")
    assert (code, "line 1: This line is not parseable" in out) == (0, True)
    code, _, err = merit("cancel", batch["id"])
    assert (code, "is completed" in err) == (1, True)
    assert merit("submit", str(tmp_path / "none"))[0] == 2
    assert merit("status", f"batch_{'0' * 32}")[0] == 3
