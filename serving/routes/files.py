"""OpenAI's files on the gateway: uploaded, listed, read and deleted. Batches read them and write them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from gateway.account.files import FEWEST_SECONDS, MOST_SECONDS, PURPOSES
from serving import uploads
from serving.dependencies import Application, GatewayDep, GatewayServices
from serving.direct import DirectRoute
from serving.llm_answers import JsonBytes
from serving.llm_scope import Scope, scope_of
from serving.moments import unix
from store import llm_files
from store.errors import InvalidValue
from store.llm_files import StoredFile

router = APIRouter(prefix="/v1", tags=["Files and batches"])
direct = APIRouter(prefix="/v1", tags=["Files and batches"], route_class=DirectRoute)

FileId = Annotated[str, Path(pattern="^file-[0-9a-f]{32}$", description="`id` of a file")]
_FORM = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "enum": list(PURPOSES)},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": FEWEST_SECONDS, "maximum": MOST_SECONDS},
        "user": {"type": "string", "description": "The person whom the file concerns, for a right to its erasure"},
    },
}
_FORM_BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}


class FileAnswer(BaseModel):
    """A file, as OpenAI shows one."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None = Field(description="After that it is not there any more; null: until it is deleted")
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    status_details: str | None = None


class FileList(BaseModel):
    """Files; ask for those `after` the `last_id` while there are more."""

    object: Literal["list"] = "list"
    data: list[FileAnswer]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


@direct.post("/files", summary="Upload a file", openapi_extra=_FORM_BODY, response_model=FileAnswer)
async def upload(request: Request) -> Response:
    """A form with the fields `file` and `purpose`. It is kept for as long as its workspace keeps words, or for
    `expires_after` seconds, also where the workspace keeps nothing of its calls; encrypted where it wants that."""
    services: GatewayServices = request.app.state.services
    caller = await services.access.caller(request.scope, "application")
    files = services.llm.files
    try:
        coming, form = await uploads.receive(request, files, caller.tenant)
    except ClientDisconnect:
        return Response(status_code=499)
    try:
        purpose = _purpose(form.fields.get("purpose"))
        seconds = _seconds(form.fields)
        user = _user(form.fields.get("user"))
        file = await asyncio.to_thread(coming.finish, form.filename, purpose, seconds, user)
    finally:
        coming.abandon()
    await asyncio.to_thread(files.register, file)
    return JsonBytes(file_answer(file).model_dump_json().encode())


@router.get("/files", summary="List files")
def listing(
    services: GatewayDep,
    caller: Application,
    purpose: Annotated[str | None, Query(description="Only those for this", max_length=32)] = None,
    limit: Annotated[int, Query(ge=1, le=llm_files.MOST_LISTED)] = llm_files.MOST_LISTED,
    order: Annotated[Literal["asc", "desc"], Query(description="By age")] = "desc",
    after: Annotated[str | None, Query(description="`last_id` of the page before", max_length=64)] = None,
) -> FileList:
    """A key of the role application sees what was uploaded with it, others the files of their workspace."""
    page = llm_files.files(
        services.settings,
        **owned(scope_of(caller), caller.name),
        purpose=purpose,
        limit=limit,
        after=after,
        ascending=order == "asc",
    )
    data = [file_answer(one) for one in page.items]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return FileList(data=data, first_id=first, last_id=last, has_more=page.next_cursor is not None)


@router.get("/files/{file_id}", summary="One file")
def one(file_id: FileId, services: GatewayDep, caller: Application) -> FileAnswer:
    """What it is; `/content` is what it holds."""
    return file_answer(llm_files.get(services.settings, file_id, **owned(scope_of(caller), caller.name)))


@router.delete("/files/{file_id}", summary="Delete a file")
def delete(file_id: FileId, services: GatewayDep, caller: Application) -> FileDeleted:
    """Not while a batch reads it."""
    services.llm.files.delete(file_id, **owned(scope_of(caller), caller.name))
    return FileDeleted(id=file_id)


@router.get(
    "/files/{file_id}/content",
    summary="What a file holds",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The bytes that were uploaded"}},
)
async def content(file_id: FileId, services: GatewayDep, caller: Application) -> StreamingResponse:
    """The bytes as they were sent, or, for the file of a batch, a JSON object a line."""
    whose = owned(scope_of(caller), caller.name)
    file = await asyncio.to_thread(lambda: llm_files.get(services.settings, file_id, **whose))
    reading = services.llm.files.read(file)
    # Whatever is wrong with the file is wrong with its first piece already, unless it was tampered with.
    first = await asyncio.to_thread(next, reading, b"")
    return StreamingResponse(
        _pieces(first, reading),
        headers={
            "content-length": str(file.bytes),
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
            "x-content-type-options": "nosniff",
        },
        media_type="application/octet-stream",
    )


async def _pieces(first: bytes, reading: Iterator[bytes]) -> AsyncIterator[bytes]:
    piece: bytes | None = first
    while piece is not None:
        yield piece
        piece = await asyncio.to_thread(next, reading, None)


def owned(scope: Scope, name: str) -> dict[str, Any]:
    """Whose files and batches may be seen: an application's own, by the name of its key."""
    return {"workspace": scope.workspace, "key_name": name if scope.key_id is not None else None}


def file_answer(file: StoredFile) -> FileAnswer:
    return FileAnswer(
        id=file.id,
        bytes=file.bytes,
        created_at=unix(file.created_at),
        expires_at=None if file.expires_at is None else unix(file.expires_at),
        filename=file.filename,
        purpose=file.purpose,
    )


def _purpose(given: str | None) -> str:
    if given not in PURPOSES:
        raise InvalidValue(
            f"{(given or '')[:50]!r} is not what a file may be for.",
            remedy=f"Send the field `purpose`, one of {', '.join(PURPOSES)}.",
            field="purpose",
            value=None if given is None else given[:50],
        )
    return given


def _seconds(fields: dict[str, str]) -> int | None:
    given = fields.get("expires_after[seconds]")
    anchor = fields.get("expires_after[anchor]", "created_at")
    if given is None and "expires_after[anchor]" not in fields:
        return None
    if given is None or not given.isdigit() or not FEWEST_SECONDS <= int(given[:12]) <= MOST_SECONDS:
        raise InvalidValue(
            f"expires_after[seconds] is not a whole number from {FEWEST_SECONDS:,} to {MOST_SECONDS:,}.",
            remedy="Correct it, or leave `expires_after` out.",
            field="expires_after[seconds]",
            value=(given or "")[:50],
        )
    if anchor != "created_at":
        raise InvalidValue(
            "expires_after[anchor] is not created_at.",
            remedy="A file's time begins when it is created.",
            field="expires_after[anchor]",
            value=anchor[:50],
        )
    return int(given)


def _user(given: str | None) -> str | None:
    if given is not None and len(given) > 256:
        raise InvalidValue("user is longer than 256 characters.", remedy="Shorten it.", field="user")
    return given or None
