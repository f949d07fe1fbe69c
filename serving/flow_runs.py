"""Triggers flow runs over the REST API of a Prefect server; knows flows by the names of their deployments.

Speaks HTTP, so that the API process never imports prefect.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import httpx

from store.errors import InvalidValue, ServiceUnavailable, SettingsError, UnknownEntity

# A server on SQLite answers 503 while its database is locked: asked again, it is soon free.
PAUSES = (0.1, 0.3, 1.0)
# The deployments of this project; a server may know others besides.
DEPLOYMENTS = Path(__file__).parents[1] / "prefect.yaml"
_REMEDY = "Start the servers with `merit up`, or set MERIT_PREFECT_API_URL to a running one."


@dataclass(frozen=True)
class FlowRun:
    """A run of a flow as the Prefect server tells it.

    Attributes
    ----------
    state : Prefect's state type: SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED, …
    message : why it is in that state, when Prefect says.
    """

    id: str
    name: str
    state: str
    state_name: str
    message: str | None
    parameters: Mapping[str, Any]
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def finished(self) -> bool:
        return self.state in {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}


class PrefectApi:
    """A client of one Prefect server. `url` is its API address, http://127.0.0.1:4200/api; None when there is none."""

    def __init__(self, url: str | None, timeout: float = 15.0) -> None:
        self.url = url.rstrip("/") if url else None
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(timeout, connect=3.0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.aclose()

    async def trigger(self, name: str, parameters: Mapping[str, Any], actor: str) -> FlowRun:
        """Create a run of the deployment `name`.

        Raises
        ------
        UnknownEntity : there is no such deployment; the remedy lists those there are. Without a server, those of this
            project are what there is.
        InvalidValue : the parameters do not fit the flow's schema.
        ServiceUnavailable : no server is configured or it does not answer.
        """
        try:
            deployment = await self._deployment(name)
        except ServiceUnavailable:
            known = project_flows()
            if known and name not in known:
                raise _unknown_flow(name, known) from None
            raise
        response = await self._request(
            "POST",
            f"/deployments/{deployment['id']}/create_flow_run",
            json={
                "parameters": dict(parameters),
                "tags": [f"actor:{actor}"],
                "state": {"type": "SCHEDULED"},
                # So that asking again after a 503 does not run the flow twice.
                "idempotency_key": uuid4().hex,
            },
        )
        if response.status_code in (400, 409, 422):
            raise InvalidValue(
                f"The parameters do not fit the flow {name}: {_reason(response)}.",
                remedy=f"The flow takes: {_signature(deployment)}.",
                field="parameters",
                value=dict(parameters),
            )
        return _flow_run(self._body(response))

    async def run(self, run_id: UUID) -> FlowRun:
        """The state of one run."""
        response = await self._request("GET", f"/flow_runs/{run_id}")
        if response.status_code == 404:
            raise UnknownEntity(
                f"There is no flow run {run_id}.",
                remedy="Use the id that triggering the flow answered with, or look in the Prefect UI.",
                field="run_id",
                value=str(run_id),
            )
        return _flow_run(self._body(response))

    async def names(self) -> list[str]:
        """Names of the deployments, sorted."""
        response = await self._request("POST", "/deployments/filter", json={"limit": 200})
        return sorted({str(item["name"]) for item in self._body(response)})

    async def _deployment(self, name: str) -> dict[str, Any]:
        # A name with other characters cannot be a deployment of ours, and would otherwise become part of the address.
        if re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name):
            response = await self._request("GET", f"/deployments/name/{name}/{name}")
            if response.status_code != 404:
                body: dict[str, Any] = self._body(response)
                return body
        raise _unknown_flow(name, await self.names())

    async def _request(self, method: str, path: str, json: Any = None) -> httpx.Response:
        if self.url is None:
            raise ServiceUnavailable("No Prefect server is configured.", remedy=_REMEDY)
        try:
            for pause in PAUSES:
                response = await self._client.request(method, self.url + path, json=json)
                if response.status_code != 503:
                    return response
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            return await self._client.request(method, self.url + path, json=json)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServiceUnavailable(
                f"The Prefect server at {self.url} does not answer ({type(error).__name__}).", remedy=_REMEDY
            ) from error

    def _body(self, response: httpx.Response) -> Any:
        if response.is_success:
            return response.json()
        if response.status_code in (401, 403):
            raise SettingsError(f"The Prefect server at {self.url} refuses access ({response.status_code}).")
        raise ServiceUnavailable(
            f"The Prefect server at {self.url} answered {response.status_code}: {_reason(response)}.",
            remedy="Look in the log of the Prefect server.",
        )


def project_flows() -> list[str]:
    """Names of the deployments in `prefect.yaml`, sorted; none where the API was installed without that file."""
    try:
        text = DEPLOYMENTS.read_text(encoding="utf-8")
    except OSError:
        return []
    return sorted(re.findall(r"^  - name: ([A-Za-z0-9_-]+)\s*$", text, re.MULTILINE))


def _unknown_flow(name: str, known: Sequence[str]) -> UnknownEntity:
    return UnknownEntity(
        f"There is no flow {name[:80]!r}.",
        remedy=f"Use one of: {', '.join(known)}." if known else "Deploy the flows with `prefect deploy --all`.",
        field="name",
        value=name,
    )


def _reason(response: httpx.Response) -> str:
    try:
        detail = response.json().get("detail", response.text)
    except ValueError:
        detail = response.text
    return str(detail)[:300].rstrip(".")


def _signature(deployment: Mapping[str, Any]) -> str:
    properties = (deployment.get("parameter_openapi_schema") or {}).get("properties", {})
    return ", ".join(f"{name} ({spec.get('type', 'any')})" for name, spec in properties.items()) or "no parameters"


def _flow_run(body: Mapping[str, Any]) -> FlowRun:
    state = body.get("state") or {}
    return FlowRun(
        id=str(body["id"]),
        name=str(body["name"]),
        state=str(body.get("state_type") or state.get("type") or "SCHEDULED"),
        state_name=str(body.get("state_name") or state.get("name") or ""),
        message=state.get("message") or None,
        parameters=body.get("parameters") or {},
        created_at=_time(body.get("created")),
        started_at=_time(body.get("start_time")),
        ended_at=_time(body.get("end_time")),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
