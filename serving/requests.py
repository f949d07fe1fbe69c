"""The outermost layer: a request id on every answer, and no unexpected error leaves without an answer and a log line.

Pure ASGI, since it is on the path of every prediction.
"""

from __future__ import annotations

import logging
import os
import re
from itertools import count

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import problems

log = logging.getLogger("merit.serving")

_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class RequestIds:
    """Sets `X-Request-ID` on every response: the caller's own when it is well-formed, else a new one.

    The id is in `scope["request_id"]` for handlers, and in the log line and the problem of an unexpected error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._prefix = os.urandom(6).hex()
        self._count = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = self._own(scope) or f"{self._prefix}-{next(self._count):x}"
        scope["request_id"] = request_id
        header = (b"x-request-id", request_id.encode())
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except ClientDisconnect:
            return  # Whoever asked went away before the question was whole: nobody is there to be answered.
        except Exception:
            log.exception("Unexpected error %s: %s %s", request_id, scope["method"], scope["path"])
            if started:
                raise  # Half an answer is out: only closing the connection tells the caller.
            await problems.unexpected(request_id)(scope, receive, answer)

    @staticmethod
    def _own(scope: Scope) -> str | None:
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                return value.decode() if _ACCEPTABLE.fullmatch(value) else None
        return None
