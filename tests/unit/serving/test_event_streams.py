"""Streams whose client has gone: whatever they hold is let go of, however early that was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from serving.streams import ClientGone, EventStream, unless_gone


@pytest.mark.parametrize("stuck_at", [0, 1, 2])
def test_a_client_that_goes_before_during_or_after_the_headers_ends_the_stream(stuck_at: int) -> None:
    ended = False
    sent: list[Any] = []

    async def frames() -> AsyncGenerator[bytes]:
        nonlocal ended
        try:
            for number in range(5):
                yield f"data: {number}\n\n".encode()
        finally:
            ended = True

    async def serve() -> None:
        gone = asyncio.Event()

        async def send(message: Any) -> None:
            if len(sent) == stuck_at:
                # The client reads no more, and then it is not there any more.
                gone.set()
                await asyncio.Event().wait()
            sent.append(message)

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        await EventStream(frames(), [(b"x-merit-id", b"1")])({}, receive, send)

    asyncio.run(serve())
    assert ended
    assert len(sent) == stuck_at


def test_a_stream_is_sent_whole_with_its_headers_first() -> None:
    sent: list[Any] = []

    async def frames() -> AsyncGenerator[bytes]:
        for number in range(3):
            yield str(number).encode()

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    asyncio.run(EventStream(frames(), [(b"x-merit-id", b"1")])({}, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * 4]
    assert (b"x-merit-id", b"1") in sent[0]["headers"]
    assert b"".join(message["body"] for message in sent[1:]) == b"012"
    assert [message["more_body"] for message in sent[1:]] == [True, True, True, False]


def test_work_that_is_cancelled_by_somebody_else_is_not_told_as_a_client_that_went() -> None:
    async def serve() -> None:
        async def receive() -> Any:
            await asyncio.Event().wait()

        task = asyncio.ensure_future(unless_gone(receive, asyncio.sleep(10)))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(serve())


def test_work_ends_with_the_client() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        asyncio.run(unless_gone(receive, work()))
    assert ended
