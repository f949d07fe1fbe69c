"""A running API, asked over HTTP: where it is, who asks, and its errors as ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import orjson
import typer

from store import errors
from store.errors import AccessDenied, InvalidValue, MeritError, ServiceUnavailable, UnknownEntity
from store.settings import load_settings

KEY_VARIABLE = "MERIT_API_KEY"

Url = Annotated[str | None, typer.Option("--url", help="Address of the API. (default: MERIT_HOST and MERIT_PORT)")]

_START = "Start it with `merit up`, or name another one with --url."
_SECONDS = httpx.Timeout(330.0, connect=5.0)
_LONGEST_VALUE = 80


class Api:
    """One API. The key is read from MERIT_API_KEY, never from an option: those stand in the shell's history.

    Raises
    ------
    InvalidValue : --url is not the address of an API.
    """

    def __init__(self, url: str | None = None) -> None:
        if url is None:
            settings = load_settings()
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
            url = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
        if not re.fullmatch(r"https?://[^\s/@]+(/[^\s?#]*)?", url):
            raise InvalidValue(
                f"--url {re.sub('//[^/]*@', '//…@', url)!r} is not the address of an API.",
                remedy="Name it like http://127.0.0.1:8000; a key goes into MERIT_API_KEY.",
                field="url",
            )
        self.url = url.rstrip("/").removesuffix("/v1")
        key = os.environ.get(KEY_VARIABLE, "").strip()
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def get(self, path: str, **parameters: Any) -> Any:
        """JSON of a GET; parameters that are None are left out."""
        return self._ask("GET", path, params={name: value for name, value in parameters.items() if value is not None})

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """JSON of a POST."""
        return self._ask("POST", path, content=orjson.dumps(body))

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """JSON of a PATCH."""
        return self._ask("PATCH", path, content=orjson.dumps(body))

    def delete(self, path: str) -> Any:
        """JSON of a DELETE; None where there is none."""
        return self._ask("DELETE", path)

    def upload(self, path: str, name: str, content: bytes, **fields: str) -> Any:
        """JSON of a form with a file."""
        return self._ask("POST", path, files={"file": (name, content)}, data=fields)

    def download(self, path: str) -> bytes:
        """Bytes of a GET."""
        return self._answer("GET", path).content

    def events(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Data of every server-sent event of a POST, up to `[DONE]`; an error event raises."""
        with self._answering(), httpx.Client(timeout=_SECONDS, headers=self._headers) as client:
            content, headers = orjson.dumps(body), {"Content-Type": "application/json"}
            with client.stream("POST", self.url + path, content=content, headers=headers) as response:
                if response.is_error:
                    response.read()
                    raise error_of(response)
                for line in response.iter_lines():
                    if not line.startswith("data:"):
                        continue
                    data = line[5:].strip()
                    if data == "[DONE]":
                        return
                    event = orjson.loads(data)
                    if isinstance(event.get("error"), Mapping):
                        raise _error(response.status_code, event, response)
                    yield event

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        response = self._answer(method, path, **given)
        with self._answering():
            return orjson.loads(response.content) if response.content else None

    def _answer(self, method: str, path: str, **given: Any) -> httpx.Response:
        with self._answering(), httpx.Client(timeout=_SECONDS, headers=self._headers) as client:
            headers = {"Content-Type": "application/json"} if "content" in given else {}
            response = client.request(method, self.url + path, headers=headers, **given)
            if response.is_error:
                raise error_of(response)
            return response

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException:
            raise ServiceUnavailable(f"{self.url} took too long to answer.", remedy=_START) from None
        except httpx.ConnectError:
            raise ServiceUnavailable(f"No API answers at {self.url}.", remedy=_START) from None
        except httpx.HTTPError as error:
            raise ServiceUnavailable(f"{self.url} broke off: {type(error).__name__}.", remedy="Try again.") from None
        except orjson.JSONDecodeError:
            raise ServiceUnavailable(f"What answers at {self.url} is not this API.", remedy=_START) from None


def error_of(response: httpx.Response) -> MeritError:
    """The error that an answer tells, problem details and OpenAI's shape alike, as the class it was raised as."""
    try:
        told = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        told = {}
    return _error(response.status_code, told if isinstance(told, Mapping) else {}, response)


def _error(status: int, told: Mapping[str, Any], response: httpx.Response) -> MeritError:
    problem = told.get("error") if isinstance(told.get("error"), Mapping) else told
    assert isinstance(problem, Mapping)
    kind = str(problem.get("code") or problem.get("type") or "").rpartition(":")[2]
    message = str(problem.get("detail") or problem.get("message") or f"The API answers with status {status}.")
    remedy, field = str(problem.get("remedy") or ""), problem.get("field") or problem.get("param")
    if remedy and message.endswith(remedy):
        message = message.removesuffix(remedy).rstrip()
    if kind in ("unknown-route", "not-found") and "remedy" in problem:
        remedy = f"{response.url.path} is not known there: is that API older, or another one?"
    value = problem.get("value")
    if kind == "invalid-request" and isinstance(value, str | int | float) and len(repr(value)) <= _LONGEST_VALUE:
        # What is wrong is told; which word of the command it was is seen sooner by what it says.
        message = f"{message.removesuffix('.')}, not {value!r}."
    for entry in (problem.get("errors") or [])[1:]:
        if isinstance(entry, Mapping):
            message += f"\n  {entry.get('field')}: {entry.get('message')}"
    if status == 401 and KEY_VARIABLE not in os.environ:
        remedy = f"Put a key into {KEY_VARIABLE}; `merit keys create NAME` makes one."
    return _class_of(kind, status)(message, remedy=remedy, field=str(field) if field else None)


def _class_of(kind: str, status: int) -> type[MeritError]:
    found = getattr(errors, "".join(part.capitalize() for part in re.split("[-_]", kind)), None)
    if isinstance(found, type) and issubclass(found, MeritError):
        return found
    if status in (401, 403):
        return AccessDenied
    if status == 404:
        return UnknownEntity
    if status >= 500:
        return ServiceUnavailable if status in (502, 503, 504) else MeritError
    return InvalidValue if status in (400, 413, 422) else MeritError
