"""`merit batch`: many prompts from a file, through the gateway of a running API, and their answers."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.api_client import Api, Url
from cli.output import AsJson, dump, screen, show, steps
from store.errors import FileUnreadable, StateConflict

app = typer.Typer(help="Work through a file of requests, one JSON object a line.", no_args_is_help=True)

ENDED = ("completed", "failed", "expired", "cancelled")
_LOOK_SECONDS = 1.0
_BatchId = Annotated[str, typer.Argument(help="Id of the batch.", show_default=False)]


class Endpoint(StrEnum):
    """What the requests are for."""

    chat = "chat"
    embeddings = "embeddings"


_PATHS = {Endpoint.chat: "/v1/chat/completions", Endpoint.embeddings: "/v1/embeddings"}


@app.command("submit")
def submit(
    file: Annotated[Path, typer.Argument(help="custom_id, method, url and body in every line.", show_default=False)],
    endpoint: Annotated[Endpoint, typer.Option(help="What the requests are for.")] = Endpoint.chat,
    priority: Annotated[int, typer.Option(help="9 goes first; below 5, other calls go first.", min=0, max=9)] = 5,
    max_cost: Annotated[
        float | None, typer.Option(help="Dollars that all of it may cost. (default: no limit)", show_default=False)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until it has ended.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file and begin to work on it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise FileUnreadable(
            f"{file} cannot be read: {error.strerror}.", remedy="Name a file that is there.", field="file"
        ) from None
    api = Api(url)
    uploaded = api.upload("/v1/files", file.name, content, purpose="batch")
    merit = {"priority": priority} | ({} if max_cost is None else {"max_cost": max_cost})
    order = {"input_file_id": uploaded["id"], "endpoint": _PATHS[endpoint], "completion_window": "24h", "merit": merit}
    batch = api.post("/v1/batches", order)
    if wait:
        batch = _until_ended(api, batch, quiet=as_json)
    _tell(batch, as_json)


@app.command("list")
def list_batches(
    limit: Annotated[int, typer.Option(help="Most to show.", min=1, max=100)] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """The latest batches."""
    rows = Api(url).get("/v1/batches", limit=limit)["data"]
    if not as_json:
        rows = [
            {**row, **row["request_counts"], "priority": row["merit"]["priority"], "cost": row["merit"]["cost"]}
            for row in rows
        ]
    show(rows, ["id", "status", "priority", "total", "completed", "failed", "cost"], as_json=as_json)


@app.command("status")
def status(
    batch_id: _BatchId,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until it has ended.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """How far a batch has come."""
    api = Api(url)
    batch = api.get(f"/v1/batches/{batch_id}")
    _tell(_until_ended(api, batch, quiet=as_json) if wait else batch, as_json)


@app.command("results")
def results(
    batch_id: _BatchId,
    errors: Annotated[bool, typer.Option("--errors", help="What was not answered, and why.")] = False,
    out: Annotated[Path | None, typer.Option(help="File to write. (default: standard output)")] = None,
    url: Url = None,
) -> None:
    """Answers of a batch that has ended, a JSON object a line, in the order of its file."""
    api = Api(url)
    batch = api.get(f"/v1/batches/{batch_id}")
    if batch["status"] not in ENDED:
        raise StateConflict(
            f"The batch {batch_id} is {batch['status']}; its answers are told when it has ended.",
            remedy=f"Wait for it: `merit batch status {batch_id} --wait`.",
        )
    file_id = batch["error_file_id" if errors else "output_file_id"]
    content = b"" if file_id is None else api.download(f"/v1/files/{file_id}/content")
    if out is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        out.write_bytes(content)
        screen.print(f"{len(content.splitlines()):,} lines in {out}", highlight=False)


@app.command("cancel")
def cancel(batch_id: _BatchId, url: Url = None, as_json: AsJson = False) -> None:
    """Ask for no more requests of a batch to be made."""
    _tell(Api(url).post(f"/v1/batches/{batch_id}/cancel", {}), as_json)


def _until_ended(api: Api, batch: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    with steps(quiet=quiet) as report:
        while batch["status"] not in ENDED:
            counts = batch["request_counts"]
            report(batch["status"], counts["completed"] + counts["failed"], counts["total"] or None)
            time.sleep(_LOOK_SECONDS)
            batch = api.get(f"/v1/batches/{batch['id']}")
    return batch


def _tell(batch: dict[str, Any], as_json: bool) -> None:
    if as_json:
        dump(batch)
        return
    counts = batch["request_counts"]
    screen.print(
        f"{batch['id']}: {batch['status']}, {counts['completed']:,} of {counts['total']:,} answered, "
        f"{counts['failed']:,} failed, ${batch['merit']['cost']:.6f}",
        highlight=False,
    )
    for one in (batch.get("errors") or {}).get("data", ()):
        where = "" if one["line"] is None else f"line {one['line']}: "
        screen.print(f"  {where}{one['message']}", highlight=False, markup=False)
