"""What happens, as it happens: a stream of server-sent events, a WebSocket on the same path, and publishing."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, WebSocket
from pydantic import BaseModel, ConfigDict, Field

from serving.dependencies import GatewayDep, GatewayServices, WorkspaceAnalyst
from serving.direct import DirectRoute
from serving.event_publishing import publish
from serving.event_scope import Interest, parse_kinds, sees
from serving.event_socket import EventSocket
from serving.event_stream import Frames
from serving.llm_scope import scope_of
from serving.streams import EventStream
from store.errors import InvalidValue
from store.event_log import Entry, parse_cursor

router = APIRouter(prefix="/v1", tags=["Events"])
direct = APIRouter(prefix="/v1", tags=["Events"], route_class=DirectRoute)


def _parameter(name: str, description: str, *, place: str = "query") -> dict[str, Any]:
    return {"name": name, "in": place, "required": False, "schema": {"type": "string"}, "description": description}


_DESCRIBED = {
    "parameters": [
        _parameter("kinds", "Only these, parted by commas: call, budget_alert, promotion, drift, breaker, custom.*, …"),
        _parameter("workspace", "Only what concerns this one"),
        _parameter("model", "Only what concerns this model"),
        _parameter("after", "Id of the last event that you have; default: from now on"),
        _parameter("Last-Event-ID", "The same; a browser sends it when it connects anew", place="header"),
    ],
    "responses": {"200": {"description": "Events without end", "content": {"text/event-stream": {}}}},
}


class PublishRequest(BaseModel):
    """An event of the caller's own."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[str, Field(max_length=64)] = Field(description="Begins with `custom.`")
    payload: dict[str, Any] = Field(default_factory=dict, description="At most 16 KiB as JSON")
    workspace: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="That it concerns; default: the caller's own, or the platform"
    )


class Published(BaseModel):
    event: int = Field(description="Its number: the `e…` in the ids of the stream")


_EXAMPLE: dict[str, Any] = {"deployed": {"value": {"kind": "custom.deployed", "payload": {"version": "1.4.2"}}}}


@direct.get("/events", summary="Events as they happen", openapi_extra=_DESCRIBED, response_model=None)
async def events(request: Request) -> EventStream:
    """Server-sent events: finished calls (`call`), budget alerts, promotions, drift, breakers, batches and what others
    publish. Every one has an id; who connects again with the last one misses nothing and gets nothing twice, however
    slow it reads. A key of the role application sees its own calls and batches, a key of a workspace what concerns
    that, a key of the platform everything. A WebSocket on the same path lets what is wanted change on the way."""
    services: GatewayServices = request.app.state.services
    caller = await services.access.caller(request.scope, "application")
    query = request.query_params
    scope = scope_of(caller, query.get("workspace"))
    if unknown := sorted(set(query) - {"kinds", "workspace", "model", "after"}):
        raise InvalidValue(
            f"Events are not filtered by {unknown[0][:50]!r}.",
            remedy="Use kinds, workspace, model and after.",
            field=unknown[0][:50],
        )
    kinds = query.get("kinds")
    interest = Interest(
        None if kinds is None else parse_kinds(kinds.split(",")), query.get("workspace"), query.get("model")
    )
    last = request.headers.get("last-event-id") or query.get("after")
    listener, beyond = await services.llm.events.listen(None if last is None else parse_cursor(last))

    def wanted(entry: Entry) -> bool:
        return sees(scope, entry) and interest.wants(entry)

    async def still_allowed() -> object:
        return await services.access.caller(request.scope, "application")

    heartbeat = services.settings.events_heartbeat_seconds
    stream = Frames(services.llm.events, listener, wanted, still_allowed, heartbeat, unknown=beyond)
    return EventStream(stream)


@router.post("/events", status_code=201, summary="Publish an event")
async def give(
    body: Annotated[PublishRequest, Body(openapi_examples=_EXAMPLE)], services: GatewayDep, caller: WorkspaceAnalyst
) -> Published:
    """Kept, and told to all who listen and may see it."""
    number = await publish(services.settings, caller, body.kind, body.payload, body.workspace)
    return Published(event=number)


@router.websocket("/events")
async def socket(websocket: WebSocket) -> None:
    """See `serving.event_socket`."""
    services: GatewayServices = websocket.app.state.services
    await EventSocket(websocket, services).run()
