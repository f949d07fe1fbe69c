"""The simulated provider's `/v1/files` and `/v1/fine_tuning/jobs` over HTTP, in OpenAI's shape."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import orjson

from gateway.simulated import openai_shape
from gateway.simulated.asked import Refused, invalid
from gateway.simulated.tuning import Tuning
from serving.multipart import End, Head, Multipart
from store.errors import InvalidValue

FILES, JOBS, MODELS = "/v1/files", "/v1/fine_tuning/jobs", "/v1/models/ft:"
_MOST = 100


def concerns(method: str, path: str) -> bool:
    """Whether a request is answered here."""
    return path.startswith((FILES, JOBS)) or (method == "DELETE" and path.startswith(MODELS))


def answer(
    tuning: Tuning, method: str, path: str, query: str, content_type: bytes, body: bytes | None
) -> tuple[int, Any]:
    """Status and content: bytes of a file, else for JSON."""
    try:
        return 200, _answer(tuning, method, path, dict(parse_qsl(query)), content_type, body or b"")
    except Refused as refused:
        return refused.status, orjson.loads(openai_shape.error(refused))


def _answer(tuning: Tuning, method: str, path: str, query: dict[str, str], content_type: bytes, body: bytes) -> Any:
    if path.startswith(MODELS):
        return tuning.remove_model(path.removeprefix("/v1/models/"))
    place = FILES if path.startswith(FILES) else JOBS
    parts = [one for one in path.removeprefix(place).split("/") if one]
    if place == FILES:
        match method, parts:
            case "POST", []:
                return tuning.upload(*_form(content_type, body))
            case "GET", []:
                purpose = query.get("purpose")
                return _listed([f.told() for f in tuning.files.values() if purpose in (None, f.purpose)][::-1], query)
            case "GET", [file_id]:
                return tuning.file(file_id).told()
            case "GET", [file_id, "content"]:
                return tuning.file(file_id).content
            case "DELETE", [file_id]:
                return tuning.remove_file(file_id)
    else:
        match method, parts:
            case "POST", []:
                return tuning.create(_json(body))
            case "GET", []:
                wanted = {key[9:-1]: value for key, value in query.items() if key.startswith("metadata[")}
                jobs = [job for job in tuning.jobs.values() if wanted.items() <= job.metadata.items()]
                return _listed([tuning.told(job) for job in reversed(jobs)], query)
            case "GET", [job_id]:
                return tuning.told(tuning.job(job_id))
            case "POST", [job_id, "cancel"]:
                return tuning.cancel(job_id)
            case "GET", [job_id, "events"]:
                return _listed(tuning.events(tuning.job(job_id)), query)
            case "GET", [job_id, "checkpoints"]:
                return _listed(tuning.checkpoints(tuning.job(job_id)), query)
    raise Refused(404, "invalid_request_error", f"There is no {method} {path[:200]}.")


def _listed(items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """A page of a list, newest first, after the one that `after` names."""
    limit = int(query["limit"]) if query.get("limit", "").isdigit() else 20
    if not 1 <= limit <= _MOST:
        raise invalid(f"limit must be between 1 and {_MOST}.", "limit")
    after = query.get("after")
    if after is not None:
        places = [place for place, one in enumerate(items) if one["id"] == after]
        if not places:
            raise invalid(f"There is nothing of the id {after[:80]!r}.", "after")
        items = items[places[0] + 1 :]
    shown = items[:limit]
    ends = {"first_id": shown[0]["id"] if shown else None, "last_id": shown[-1]["id"] if shown else None}
    return {"object": "list", "data": shown, "has_more": len(items) > limit, **ends}


def _form(content_type: bytes, body: bytes) -> tuple[str, str, bytes]:
    """(name of the file, purpose, content) of an upload."""
    fields: dict[str, bytes] = {}
    filename, name = "", ""
    try:
        form = Multipart(content_type)
        for part in form.feed(body):
            if isinstance(part, Head):
                name = part.name
                fields[name] = b""
                filename = part.filename or filename
            elif not isinstance(part, End):
                fields[name] += part
        form.finish()
    except InvalidValue as error:
        raise invalid(error.message) from None
    for needed in ("file", "purpose"):
        if needed not in fields:
            raise invalid(f"'{needed}' is a required property", needed)
    return filename or "file", fields["purpose"].decode("utf-8", "replace"), fields["file"]


def _json(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        raise invalid("The body of the request must be a JSON object.")
    return content
