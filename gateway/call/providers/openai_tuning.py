"""OpenAI's fine-tuning API: files, jobs, events and checkpoints, as `POST /v1/fine_tuning/jobs` has them.

https://platform.openai.com/docs/api-reference/fine-tuning; spoken by OpenAI, and by whoever copies it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from gateway.call.providers.endpoints import encode, endpoint
from gateway.call.providers.http import Http
from gateway.call.providers.openai import read_object
from gateway.call.providers.wire import Provider, ProviderFailure

TIMEOUT_S = 60.0
_UPLOAD_S = 600.0
_PAGE = 100
ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class TuningJob:
    """A job as the provider tells of it.

    Attributes
    ----------
    status : validating_files, queued, running, succeeded, failed or cancelled.
    model : what came of it; None until it succeeded.
    trained_tokens : what is charged for; None until it is known.
    error : why it failed.
    """

    id: str
    status: str
    model: str | None
    trained_tokens: int | None
    error: str | None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened in a job; `at` is seconds since 1970."""

    id: str
    at: int
    level: str
    message: str
    data: Mapping[str, Any]


class OpenAITuning:
    """Speaks to whoever takes `/files` and `/fine_tuning/jobs` below its base URL.

    Every method raises `ProviderFailure`, and nothing else.
    """

    def __init__(self, http: Http) -> None:
        self._http = http

    async def upload(self, provider: Provider, filename: str, content: bytes) -> str:
        """Upload examples; the file's id."""
        boundary = secrets.token_hex(16)
        lines = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n',
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n",
        ]
        body = "".join(lines).encode() + content + f"\r\n--{boundary}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return _text(provider, await self._ask(provider, "POST", "/files", body, kind, _UPLOAD_S), "id")

    async def files(self, provider: Provider, beginning: str) -> list[str]:
        """Ids of the files for fine-tuning whose name begins so."""
        found: list[str] = []
        after: str | None = None
        while True:
            query = urlencode({"purpose": "fine-tune", "limit": _PAGE, **({} if after is None else {"after": after})})
            told = await self._ask(provider, "GET", f"/files?{query}")
            page = _list(provider, told)
            found += [str(one.get("id")) for one in page if str(one.get("filename") or "").startswith(beginning)]
            if not page or not told.get("has_more"):
                return found
            after = str(page[-1].get("id"))

    async def remove_file(self, provider: Provider, file_id: str) -> None:
        """Have a file forgotten; one that is gone already is as well."""
        try:
            await self._ask(provider, "DELETE", f"/files/{_part(file_id)}")
        except ProviderFailure as failure:
            if failure.status != 404:
                raise

    async def create(
        self,
        provider: Provider,
        *,
        model: str,
        training_file: str,
        validation_file: str | None,
        suffix: str,
        epochs: int,
        seed: int,
        metadata: Mapping[str, str],
    ) -> TuningJob:
        """Begin a supervised job. It is charged for when it has ended."""
        body: dict[str, Any] = {
            "model": model,
            "training_file": training_file,
            "suffix": suffix,
            "seed": seed,
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": epochs}}},
            "metadata": dict(metadata),
        }
        if validation_file is not None:
            body["validation_file"] = validation_file
        return _job(provider, await self._ask(provider, "POST", "/fine_tuning/jobs", encode(body)))

    async def find(self, provider: Provider, name: str, value: str) -> TuningJob | None:
        """The newest job whose metadata holds this pair: whether one was begun by a process that died right then."""
        query = urlencode({f"metadata[{name}]": value, "limit": 1})
        told = await self._ask(provider, "GET", f"/fine_tuning/jobs?{query}")
        # A provider that does not know the filter tells of every job.
        for one in _list(provider, told):
            if (one.get("metadata") or {}).get(name) == value:
                return _job(provider, one)
        return None

    async def job(self, provider: Provider, job_id: str) -> TuningJob:
        """A job as it is now."""
        return _job(provider, await self._ask(provider, "GET", f"/fine_tuning/jobs/{_part(job_id)}"))

    async def cancel(self, provider: Provider, job_id: str) -> TuningJob:
        """End a job; one that has ended stays as it is."""
        try:
            return _job(provider, await self._ask(provider, "POST", f"/fine_tuning/jobs/{_part(job_id)}/cancel", b"{}"))
        except ProviderFailure as failure:
            if failure.status != 400:
                raise
            return await self.job(provider, job_id)

    async def events(self, provider: Provider, job_id: str, known: frozenset[str] = frozenset()) -> list[JobEvent]:
        """What has happened, oldest first, without what is known already."""
        found: list[JobEvent] = []
        after: str | None = None
        while True:
            query = urlencode({"limit": _PAGE, **({} if after is None else {"after": after})})
            told = await self._ask(provider, "GET", f"/fine_tuning/jobs/{_part(job_id)}/events?{query}")
            page = [_event(one) for one in _list(provider, told)]
            fresh = [one for one in page if one.id not in known]
            found += fresh
            if len(fresh) < len(page) or not page or not told.get("has_more"):
                return found[::-1]
            after = page[-1].id

    async def checkpoints(self, provider: Provider, job_id: str) -> list[dict[str, Any]]:
        """Models at the ends of epochs, newest first: `name`, `step`, `metrics`."""
        told = await self._ask(provider, "GET", f"/fine_tuning/jobs/{_part(job_id)}/checkpoints?limit=10")
        return [
            {
                "name": one.get("fine_tuned_model_checkpoint"),
                "step": one.get("step_number"),
                "metrics": one.get("metrics") or {},
            }
            for one in _list(provider, told)
        ]

    async def remove_model(self, provider: Provider, name: str) -> None:
        """Have a tuned model deleted; one that is gone already is as well."""
        try:
            await self._ask(provider, "DELETE", f"/models/{_part(name)}")
        except ProviderFailure as failure:
            if failure.status != 404:
                raise

    async def _ask(
        self,
        provider: Provider,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, Any]:
        key = {} if provider.key is None else {"Authorization": f"Bearer {provider.key}"}
        place = endpoint(provider, path, {**key, **(headers or {})})
        return read_object(provider, await self._http.request(place, body, timeout_s, method=method))


def _job(provider: Provider, told: Mapping[str, Any]) -> TuningJob:
    error = told.get("error") or {}
    tokens = told.get("trained_tokens")
    model = told.get("fine_tuned_model")
    return TuningJob(
        id=_text(provider, told, "id"),
        status=_text(provider, told, "status"),
        model=model if isinstance(model, str) and model else None,
        trained_tokens=tokens if isinstance(tokens, int) else None,
        error=str(error["message"])[:1000] if isinstance(error, Mapping) and error.get("message") else None,
    )


def _event(told: Mapping[str, Any]) -> JobEvent:
    at = told.get("created_at")
    return JobEvent(
        id=str(told.get("id")),
        at=at if isinstance(at, int) else 0,
        level=str(told.get("level") or "info"),
        message=str(told.get("message") or "")[:1000],
        data=told["data"] if isinstance(told.get("data"), Mapping) else {},
    )


def _list(provider: Provider, told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    data = told.get("data")
    if not isinstance(data, list) or not all(isinstance(one, Mapping) for one in data):
        raise ProviderFailure("malformed", f"{provider.name} answered without a list in `data`.", status=200)
    return data


def _text(provider: Provider, told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not value:
        raise ProviderFailure("malformed", f"{provider.name} answered without `{name}`.", status=200)
    return value


def _part(text: str) -> str:
    return quote(text, safe=":")
