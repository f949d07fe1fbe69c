"""Nothing that waits runs where all calls are waited for: the event loop never asks the database itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.opening import OpenGateway
from gateway.prompt import Options, Prompt, Tenant
from store.database import dispose, engine
from store.errors import GatewayError
from store.settings import Settings
from store.tables.base import new_id
from store.workspaces import put

SAID = [{"role": "user", "content": "What is 17 * 23?"}]
ADA = Tenant(workspace="w", user="ada")
SHAPES: Mapping[str, dict[str, Any]] = {
    "auto": {"model": "auto"},
    "preferred": {"model": "preferred"},
    "streamed": {"model": "simulated/small", "stream": True},
    "cached": {"model": "simulated/small", "options": Options(cache="semantic")},
    "an ensemble": {"model": "ensemble/jury"},
    "embeddings": {"model": "simulated/embed", "kind": "embeddings", "body": {"input": "a river"}},
    "unknown": {"model": "nobody/knows"},
    "a conversation": {"model": "simulated/small", "conversation": True},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_event_loop_never_asks_the_database(shape: str, settings: Settings, simulator: Any) -> None:
    chosen = settings.model_copy(update={"simulator_port": simulator.port})
    fields = {"kind": "chat", "body": {"messages": SAID, "max_tokens": 60}, **SHAPES[shape]}
    asked_here: list[str] = []
    asked = 0

    async def call() -> None:
        opened = OpenGateway(chosen)
        gateway = await opened.open()
        parts = gateway.parts
        given = dict(fields)
        if given.pop("conversation", False):
            made = await asyncio.to_thread(
                parts.threads.conversations.create, ADA, parts.workspaces.get(ADA.workspace), messages=()
            )
            given["options"] = Options(conversation=made.id)
        here = threading.get_ident()

        def noted(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            nonlocal asked
            asked += 1
            if threading.get_ident() == here:
                asked_here.append(statement)

        sa.event.listen(engine(chosen), "before_cursor_execute", noted)
        for _ in range(2):
            prompt = Prompt(id=new_id(), tenant=ADA, **given)
            with suppress(GatewayError):
                if prompt.stream:
                    async for _ in (await gateway.stream(prompt)).pieces():
                        pass
                else:
                    await gateway.answer(prompt)
        await opened.close()

    put(chosen, "w", "default", {"keep": "plain"})
    asyncio.run(call())
    assert asked > 0 or shape == "unknown"
    assert asked_here == []
    dispose(chosen)
