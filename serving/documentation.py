"""What /docs shows beyond the routes themselves: tags, how to send a key, and the shape of every problem."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

TAGS: list[dict[str, Any]] = [
    {"name": "Churn", "description": "Who leaves, and whether an offer is worth its cost."},
    {"name": "Forecasts", "description": "What the promoted forecaster expects, with calibrated intervals."},
    {"name": "Pricing", "description": "Which price to ask, what it would bring, and what came of it."},
    {"name": "Segments", "description": "Customers by behaviour, what they are worth, and who moves where."},
    {"name": "Anomalies", "description": "What is unusual: values checked as they come, and what was found."},
    {"name": "LLM gateway", "description": "Prompts to the model that is good enough, cheap enough and alive."},
    {"name": "Money", "description": "Budgets, and what was used and spent."},
    {"name": "Workspaces", "description": "Who shares what, what is kept of it, people's rights, and the audit log."},
    {"name": "Operation", "description": "Take a provider or a model out, let it in again, read the configuration."},
    {"name": "Files and batches", "description": "Many prompts from a file, answered beside others, into a file."},
    {"name": "Events", "description": "What happens, as it happens: calls, alerts, promotions, and what you publish."},
    {"name": "Registry", "description": "Models, versions, promotions and their history."},
    {"name": "Flows", "description": "Training and backfill as runs on the Prefect server."},
    {"name": "Keys", "description": "API keys and their roles: application, analyst, admin."},
    {"name": "Health", "description": "Is it alive, and can it answer?"},
]

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}

_CHECK = "/v1/anomalies/check"

_PROBLEM = {
    "title": "Problem",
    "description": "RFC 9457 problem details",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:merit:problem:unknown-entity"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong, with the name and the value"},
        "field": {"type": "string", "description": "The field at fault"},
        "value": {"description": "Its value, shortened"},
        "remedy": {"type": "string", "description": "What to do next"},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "One entry per field at fault"},
        "request_id": {"type": "string", "description": "Also the header `X-Request-ID` and in the log"},
    },
}


@dataclass(frozen=True)
class Known:
    """Names that may be shown to everybody; they replace those in the examples, so that these work when pasted.

    Attributes
    ----------
    product : with a price for it.
    watched : series that are watched for anomalies; without one, examples that name one are left out.
    """

    customers: Sequence[str] = ()
    product: tuple[str, float] | None = None
    watched: Sequence[str] = ()


def install(app: FastAPI, known: Callable[[], Known]) -> None:
    """Extend the app's OpenAPI description; `known` is asked each time it is shown."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return _with_names(app.openapi_schema, known())

    app.openapi = openapi  # type: ignore[method-assign]


def _with_names(described: dict[str, Any], known: Known) -> dict[str, Any]:
    # A copy: what may be shown differs from request to request.
    made: dict[str, Any] = copy.deepcopy(described)
    for path, operations in made["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            examples = content.get("examples", {})
            if path == _CHECK:
                _put_watched(examples, known.watched)
            for example in examples.values():
                _put_names(example["value"], known)
                _put_days(example["value"])
    return made


def _put_watched(examples: dict[str, Any], watched: Sequence[str]) -> None:
    for name in [name for name, example in examples.items() if "series" in example["value"]]:
        if watched:
            examples[name]["value"]["series"] = watched[0]
        else:
            del examples[name]


def _put_names(value: dict[str, Any], known: Known) -> None:
    if known.customers:
        value |= {"customer_id": known.customers[0]} if "customer_id" in value else {}
        value |= {"customer_ids": list(known.customers)} if "customer_ids" in value else {}
    if known.product:
        product, price = known.product
        value |= {"product": product} if "product" in value else {}
        value |= {name: {product: price} for name in ("prices", "competitor_prices") if name in value}


def _put_days(value: dict[str, Any]) -> None:
    """Something that has happened happened yesterday, whenever it is read."""
    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    for one in (value, *(part for part in value.get("observed", []) if isinstance(part, dict))):
        one |= {"date": day} if "date" in one else {}


def _describe(app: FastAPI) -> dict[str, Any]:
    described = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        tags=app.openapi_tags,
        routes=app.routes,
    )
    components = described.setdefault("components", {})
    components["securitySchemes"] = _SCHEMES
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for path, operations in described["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            responses.pop("422", None)
            responses["default"] = {"description": "A problem: field, value and remedy", **problem}
            if path.startswith("/v1/"):
                operation["security"] = [{"bearer": []}, {"key": []}]
    return described
