"""Every error as an RFC 9457 problem: `application/problem+json` with what was wrong, the field, the value, the remedy.

    {"type": "urn:merit:problem:unknown-entity", "title": "Unknown entity", "status": 404,
     "detail": "No customer 'c-9' is known.", "field": "customer_id", "value": "c-9",
     "remedy": "List customers with …", "request_id": "…"}

A validation error carries one entry per offending field in `errors`, never the schema. An unexpected error carries an
id that is also in the log, never a traceback.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from store import errors

log = logging.getLogger("merit.serving")

MEDIA_TYPE = "application/problem+json"
# Where clients of OpenAI's API ask; their errors hold the member `error`, too.
OPENAI_PATHS = ("/v1/chat/completions", "/v1/embeddings", "/v1/models", "/v1/files", "/v1/batches")
# Where clients of Anthropic's API ask; theirs are told by `"type": "error"`.
ANTHROPIC_PATH = "/v1/messages"
LONGEST_VALUE = 120
MOST_ITEMS = 10
MOST_ERRORS = 20

# Of a body above the limit, whether it was told by its length or found while it arrived.
BODY_TOO_LARGE = {
    "kind": "body-too-large",
    "title": "Body too large",
    "remedy": "Send fewer rows at a time, or raise MERIT_MAX_BODY_BYTES on the server.",
}

# The most specific class wins: looked up along the class's own ancestry.
STATUS: Mapping[type[BaseException], int] = {
    errors.MeritError: 500,
    errors.SettingsError: 500,
    errors.DataError: 422,
    errors.TrainingError: 500,
    errors.RegistryError: 409,
    errors.UnknownModel: 404,
    errors.UnknownVersion: 404,
    errors.NoChampion: 503,
    errors.PromotionConflict: 409,
    errors.IntegrityFailed: 409,
    errors.UnknownEntity: 404,
    errors.StateConflict: 409,
    errors.AccessDenied: 403,
    errors.ServiceUnavailable: 503,
    errors.GatewayError: 500,
    errors.UnknownLlm: 404,
    errors.NoCandidate: 422,
    errors.BudgetExceeded: 402,
    errors.RateLimited: 429,
    errors.UpstreamFailed: 502,
    errors.DeadlineExceeded: 504,
    errors.NoConsensus: 409,
    errors.ContentRefused: 422,
}

# What OpenAI's clients know these errors as; everything else is an `api_error` or an `invalid_request_error`.
_OPENAI_TYPES: Mapping[type[errors.MeritError], str] = {
    errors.BudgetExceeded: "insufficient_quota",
    errors.RateLimited: "rate_limit_error",
    errors.UnknownLlm: "model_not_found",
    errors.AccessDenied: "authentication_error",
}


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "",
    title: str = "",
    remedy: str = "",
    field: str | None = None,
    value: Any = None,
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> Response:
    """One problem as a response; members without content are left out."""
    title = title or HTTPStatus(status).phrase
    body: dict[str, Any] = {
        "type": f"urn:merit:problem:{kind or re.sub('[^a-z]+', '-', title.lower())}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if field:
        body["field"] = field
        if not _is_binary(value):
            body["value"] = shorten(value)
    if remedy:
        body["remedy"] = remedy
    body.update({key: item for key, item in extra.items() if item is not None})
    return Response(_json(body), status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def shorten(value: Any) -> Any:
    """The value as JSON, as it was sent when it is small: the beginning of a text, the first items of a list or object.

    Items that are lists or objects themselves are kept when their text is short, and are the beginning of it otherwise.
    """
    if isinstance(value, Mapping):
        kept = {shorten(str(key)): _item(item) for key, item in list(value.items())[:MOST_ITEMS]}
        return kept if len(value) <= MOST_ITEMS else {**kept, "…": f"{len(value) - MOST_ITEMS:,} more"}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_item(item) for item in list(value)[:MOST_ITEMS]]
        return items if len(value) <= MOST_ITEMS else [*items, f"… {len(value) - MOST_ITEMS:,} more"]
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    # JSON may hold halves of characters, which UTF-8 cannot.
    text = (value if isinstance(value, str) else str(value)).encode(errors="backslashreplace").decode()
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def _item(value: Any) -> Any:
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return shorten(value)
    try:
        text = _json(value).decode()
    except TypeError:  # nested too deeply to be written, or holds what cannot be
        return "{…}" if isinstance(value, Mapping) else "[…]"
    return value if len(text) <= LONGEST_VALUE else shorten(text)


def _json(content: Any) -> bytes:
    return orjson.dumps(content, default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def _is_binary(value: Any) -> bool:
    """What came as bytes was no JSON: showing it would tell nobody anything."""
    return isinstance(value, bytes | bytearray | memoryview)


def status_of(error: errors.MeritError) -> int:
    if isinstance(error, errors.UpstreamRefused):
        return error.status
    if isinstance(error, errors.UpstreamFailed | errors.NoCandidate):
        # Overloaded or closed for a while is not the same as broken or wrong: a client may wait and come back.
        if error.details.get("overloaded"):
            return 429
        if error.details.get("unavailable"):
            return 503
    if isinstance(error, errors.AccessDenied) and error.field == "Authorization":
        return 401
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def of_merit_error(
    error: errors.MeritError, request_id: str | None = None, *, openai: bool = False, anthropic: bool = False
) -> Response:
    """The problem of an error that was raised on purpose.

    Parameters
    ----------
    openai : adds the member `error` that OpenAI's clients read.
    anthropic : the same as Anthropic's clients read it; the problem's own type is then in `problem`.
    """
    status = status_of(error)
    kind = _kind(error)
    headers = {"WWW-Authenticate": 'Bearer realm="merit"'} if status == 401 else {}
    details: Mapping[str, Any] = {}
    if isinstance(error, errors.GatewayError):
        details = error.details
        headers |= {str(name): str(value) for name, value in details.get("headers", {}).items()}
        if error.retry_after is not None:
            headers |= {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
            headers |= {"retry-after-ms": str(max(1, math.ceil(1000 * error.retry_after)))}
        if status == 402:
            headers |= {"x-should-retry": "false"}
    return problem(
        status,
        error.message,
        kind=kind,
        title=kind.replace("-", " ").capitalize(),
        remedy=error.remedy,
        field=error.field,
        value=error.value,
        headers=headers,
        request_id=request_id,
        **{name: value for name, value in details.items() if name != "headers"},
        **({"error": openai_error(error)} if openai or anthropic else {}),
        **({"type": "error", "problem": f"urn:merit:problem:{kind}"} if anthropic else {}),
    )


def openai_error(error: errors.MeritError) -> dict[str, Any]:
    """What OpenAI's clients read: the member `error` of an answer."""
    status = status_of(error)
    fallback = "rate_limit_error" if status == 429 else "invalid_request_error" if status < 500 else "api_error"
    return {
        "message": str(error),
        "type": next((_OPENAI_TYPES[one] for one in type(error).__mro__ if one in _OPENAI_TYPES), fallback),
        "param": error.field,
        "code": _kind(error).replace("-", "_"),
    }


def _kind(error: errors.MeritError) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


_JSON_REMEDY = "Send valid JSON with the header `Content-Type: application/json`."


def of_validation(found: Sequence[Any], request_id: str | None = None) -> Response:
    """The problem of a request that does not fit: every offending field with its value, shortened."""
    entries = [_entry(item) for item in found[:MOST_ERRORS]]
    first = entries[0]
    if found[0]["type"] == "json_invalid":
        reason = found[0].get("ctx", {}).get("error", "it does not parse")
        position = found[0]["loc"][-1]
        return problem(
            400,
            f"The body is not valid JSON: {reason} (at position {position}).",
            kind="invalid-json",
            title="Invalid JSON",
            remedy=_JSON_REMEDY,
            request_id=request_id,
        )
    more = f" ({len(found) - 1} more below)" if len(found) > 1 else ""
    return problem(
        422,
        f"{first['field']}: {first['message']}{more}.",
        kind="invalid-request",
        title="Invalid request",
        remedy=first["remedy"],
        field=first["field"],
        value=_value(found[0]),
        errors=entries,
        request_id=request_id,
    )


def _entry(item: Mapping[str, Any]) -> dict[str, Any]:
    location = [part for part in item["loc"] if part not in ("body", "query", "path", "header")]
    field = ".".join(str(part) for part in location) or str(item["loc"][0] if item["loc"] else "body")
    message = item["msg"].removeprefix("Value error, ").rstrip(".")
    message = message[:1].lower() + message[1:]
    kind = item["type"]
    value = _value(item)
    if kind == "missing":
        remedy = f"Add `{field}`; the fields of every request are shown under /docs."
    elif kind == "extra_forbidden":
        remedy = f"Remove `{field}`; the fields of every request are shown under /docs."
    elif _is_binary(value) or (field == "body" and kind.endswith("_type")):
        remedy = _JSON_REMEDY
    else:
        remedy = f"Correct `{field}`; the fields of every request are shown under /docs."
    shown = {} if _is_binary(value) else {"value": shorten(value)}
    return {"field": field, **shown, "message": message, "remedy": remedy}


def _value(item: Mapping[str, Any]) -> Any:
    """What stood where the error is; of a missing field, pydantic tells what it is missing from."""
    return None if item["type"] == "missing" else item.get("input")


def unexpected(request_id: str) -> Response:
    """The problem of an error nobody foresaw; the log holds the traceback under the same id."""
    return problem(
        500,
        "Something went wrong that should not have.",
        kind="unexpected",
        title="Unexpected error",
        remedy=f"Look for {request_id} in the log of the API, or report it.",
        request_id=request_id,
    )


def _request_id(request: Request) -> str | None:
    return request.scope.get("request_id")


async def _merit_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.MeritError)
    if status_of(error) >= 500:
        log.warning("%s %s: %s", request.method, request.url.path, error)
    path = request.url.path
    if path.startswith(ANTHROPIC_PATH):
        return of_merit_error(error, _request_id(request), anthropic=True)
    return of_merit_error(error, _request_id(request), openai=path.startswith(OPENAI_PATHS))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return of_validation(error.errors(), _request_id(request))


async def _database_error(request: Request, error: Exception) -> Response:
    # The driver's own text can hold the SQL, its values and the address: it goes to the log, not to the caller.
    log.error("%s %s: %s", request.method, request.url.path, error)
    return problem(
        503,
        "The platform database does not answer.",
        kind="service-unavailable",
        title="Service unavailable",
        remedy="Try again shortly; `merit doctor` tells what is wrong with the database.",
        headers={"Retry-After": "5"},
        request_id=_request_id(request),
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, method = request.url.path, request.method
    if error.status_code == 404:
        return problem(
            404,
            f"There is no route {path}.",
            kind="unknown-route",
            title="Unknown route",
            remedy="Every route is listed under /docs.",
            request_id=_request_id(request),
        )
    if error.status_code == 405:
        allowed = _allowed(request)
        return problem(
            405,
            f"{path} does not take {method}.",
            kind="method-not-allowed",
            remedy=f"Use {allowed}.",
            headers={"Allow": allowed},
            request_id=_request_id(request),
        )
    known = BODY_TOO_LARGE if error.status_code == 413 else {}
    return problem(
        error.status_code, str(error.detail), headers=error.headers, request_id=_request_id(request), **known
    )


def _allowed(request: Request) -> str:
    """All methods of a path; Starlette's own answer knows those of the first route alone."""
    path = request.url.path
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.methods and route.path_regex.match(path):
            methods |= route.methods
    return ", ".join(sorted(methods))


def install(app: FastAPI) -> None:
    """Give the app its error handlers. Unexpected errors are caught further out, in `serving.requests`."""
    app.add_exception_handler(errors.MeritError, _merit_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(OperationalError, _database_error)
    app.add_exception_handler(InterfaceError, _database_error)
    app.add_exception_handler(HTTPException, _http_error)
