"""What may be asked of the simulated provider beside answers: its bill, its faults, its models. Loopback only."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs

import orjson

from gateway.simulated import openai_shape
from gateway.simulated.asked import Refused, invalid
from gateway.simulated.provider import SimulatedProvider


def control(
    provider: SimulatedProvider, method: str, path: str, query: str, body: bytes | None, client: str
) -> tuple[int, Any]:
    """Answer a request below `/simulator/`.

    | | |
    |---|---|
    | GET, DELETE bill | what was charged; `?limit=` of lines |
    | GET, PUT, POST, DELETE faults | what goes wrong: PUT replaces by one or a list, POST adds, DELETE ends all |
    | GET models, PUT models/{provider}/{name} | prices, speed, failures, `quality` (a shift in logits) |
    | PUT settings | `{"speed": …, "failures": …}` from the next call on |
    | POST reset | all as it was at the start |

    Returns
    -------
    (status, content for JSON).
    """
    if not _loopback(client):
        refused = Refused(403, "permission_error", "Only callers on this machine may adjust the simulated provider.")
        return 403, orjson.loads(openai_shape.error(refused))
    what, _, rest = path.removeprefix("/simulator/").partition("/")
    try:
        return 200, _answer(provider, method, what, rest, query, body or b"")
    except Refused as refused:
        return refused.status, orjson.loads(openai_shape.error(refused))


def _answer(provider: SimulatedProvider, method: str, what: str, rest: str, query: str, body: bytes) -> Any:
    match method, what:
        case "GET", "bill":
            limit = parse_qs(query).get("limit", [""])[0]
            return provider.bill.statement(int(limit) if limit.isdigit() else None)
        case "DELETE", "bill":
            provider.bill.clear()
        case "GET", "faults":
            return {"faults": provider.faults.listed()}
        case (("PUT" | "POST"), "faults"):
            if method == "PUT":
                provider.faults.clear()
            given = _json(body)
            for one in given if isinstance(given, list) else [given]:
                if not isinstance(one, dict):
                    raise invalid("A fault is a JSON object.")
                provider.faults.plant(one)
            return {"faults": provider.faults.listed()}
        case "DELETE", "faults":
            provider.faults.clear()
        case "GET", "models":
            return {"models": [provider.models.describe(one) for one in provider.models]}
        case "PUT", "models":
            given = _json(body)
            if not isinstance(given, dict):
                raise invalid("What is adjusted is a JSON object.")
            return provider.models.adjust(rest, given)
        case "PUT", "settings":
            return _set(provider, _json(body))
        case "POST", "reset":
            provider.reset()
        case _:
            raise Refused(404, "invalid_request_error", f"There is no {method} /simulator/{what[:100]}.")
    return {}


def _set(provider: SimulatedProvider, given: Any) -> Any:
    if not isinstance(given, dict) or not set(given) <= {"speed", "failures"}:
        raise invalid("Settings are speed and failures.")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
            raise invalid(f"{name} = {value!r} is not a number of 0 or more.", name)
    provider.speed = float(given.get("speed", provider.speed))
    provider.faults.own = float(given.get("failures", provider.faults.own))
    return {"speed": provider.speed, "failures": provider.faults.own}


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"This is not JSON: {error}.") from None


def _loopback(client: str) -> bool:
    try:
        return ip_address(client).is_loopback
    except ValueError:
        # A socket of the file system, which is of this machine, has no address.
        return client == ""
