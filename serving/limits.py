"""How much one request may ask for: the size of its body and the number of its rows."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import problems
from store.errors import InvalidValue

# Of a version or a line: what an integer column of every database holds.
LARGEST_NUMBER = 2**31 - 1


class BodyLimit:
    """Refuses bodies above `limit` bytes with 413, by their declared length or, when chunked, as they arrive.

    Parameters
    ----------
    larger : path → its own limit and the setting that raises it, where bodies do not go into memory as a whole.
    """

    def __init__(self, app: ASGIApp, limit: int, larger: Mapping[str, tuple[int, str]] | None = None) -> None:
        self.app = app
        self._limit = limit, "MERIT_MAX_BODY_BYTES"
        self._larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = None
        for name, value in scope["headers"]:
            if name == b"content-length":
                declared = value
                break
        limit, setting = self._larger.get(scope["path"], self._limit) if self._larger else self._limit
        if declared is None:
            await self.app(scope, _counted(receive, limit), send)
        elif declared.isdigit() and int(declared) <= limit:
            await self.app(scope, receive, send)  # The server holds the client to what it declared.
        else:
            size = int(declared) if declared.isdigit() else None
            response = problems.problem(
                413,
                _detail(size, limit),
                request_id=scope.get("request_id"),
                headers={"Connection": "close"},
                **problems.BODY_TOO_LARGE | {"remedy": f"Send less at a time, or raise {setting} on the server."},
            )
            await response(scope, receive, send)


def _counted(receive: Receive, limit: int) -> Receive:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            # The one exception that FastAPI lets through while it reads a body.
            raise HTTPException(413, _detail(None, limit), headers={"Connection": "close"})
        return message

    return counted


def _detail(size: int | None, limit: int) -> str:
    what = f"The body has {size:,} bytes" if size is not None else "The body is too large"
    return f"{what}; the limit is {limit:,} bytes."


def check_batch(count: int, limit: int, field: str, what: str = "rows") -> None:
    """Raise `InvalidValue` naming the limit when one request holds more than `limit` rows."""
    if count > limit:
        raise InvalidValue(
            f"{field} holds {count:,} {what}; the limit is {limit:,} in one request.",
            remedy=f"Send at most {limit:,} at a time, or raise MERIT_MAX_BATCH on the server.",
            field=field,
            value=count,
        )
