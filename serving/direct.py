"""A route without FastAPI's machinery around it, for the one path where its cost is felt.

Measured on a single churn prediction: resolving dependencies, reading the content type with the `email` package and
decoding with `json` cost as much as the prediction itself. Documentation and matching stay FastAPI's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import orjson
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

Body = TypeVar("Body", bound=BaseModel)


class DirectRoute(APIRoute):
    """Calls its endpoint with the request; the endpoint checks the caller and reads the body itself."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


async def body_of(request: Request) -> bytes:
    """The body, which mostly comes in one piece; to be read once.

    Raises
    ------
    ClientDisconnect : the caller went away before all of it had come.
    """
    message = await request.receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        return body
    pieces = []
    while message["type"] == "http.request":
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
        message = await request.receive()
    raise ClientDisconnect


async def read_body(request: Request, model: type[Body]) -> Body:
    """The JSON body as `model`, with the errors that FastAPI would raise.

    Raises
    ------
    RequestValidationError : it is not JSON, is sent as something else, or does not fit.
    """
    content = await body_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not content:
        raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}])
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        # Also keeps web pages of others from posting here without being asked first.
        found = f"The body came as {kind or 'nothing in particular'}, not as JSON"
        raise RequestValidationError([{"type": "model_type", "loc": ("body",), "msg": found, "input": b""}])
    try:
        return model.model_validate(orjson.loads(content))
    except orjson.JSONDecodeError as error:
        reason = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "", "ctx": {"error": error.msg}}
        raise RequestValidationError([reason]) from None
    except ValidationError as error:
        found_errors = [
            {**item, "loc": ("body", *item["loc"])} for item in error.errors(include_url=False, include_context=False)
        ]
        raise RequestValidationError(found_errors) from None


def documented(model: type[BaseModel], examples: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a direct route: the body that it reads."""
    content = {"application/json": {"schema": inlined_schema(model), "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


def inlined_schema(kind: Any) -> dict[str, Any]:
    """JSON schema of a type with what it refers to in place: as a part of a larger document, its own references would
    lead nowhere."""
    schema = TypeAdapter(kind).json_schema()
    parts = schema.pop("$defs", {})

    def inlined(value: Any) -> Any:
        if isinstance(value, dict):
            named = value.get("$ref")
            if isinstance(named, str):
                return inlined({**parts[named.rpartition("/")[2]], **{k: v for k, v in value.items() if k != "$ref"}})
            return {name: inlined(one) for name, one in value.items()}
        return [inlined(one) for one in value] if isinstance(value, list) else value

    found: dict[str, Any] = inlined(schema)
    return found
