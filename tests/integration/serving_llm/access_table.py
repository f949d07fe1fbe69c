"""Who may do what: every route, the least role, whether keys of a workspace may, and what of another's objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ZERO = "0" * 32
RUN = "00000000-0000-0000-0000-000000000000"
# The caller may; what it is answered is another test's matter (there is no champion here, for example).
ALLOWED = 0


@dataclass(frozen=True)
class Row:
    """One way of using a route.

    Attributes
    ----------
    route : "GET /v1/keys", as the app lists it.
    path : how it is called, `route`'s own where it has no parameters. `{id}` is the object's, `{workspace}` its
        workspace's name, here and in `body`.
    least : the role that is needed; "anybody" needs no key.
    platform : a key that is bound to a workspace does not do.
    of : kind of the object that is made before each call, by an application of the workspace; None: none is needed.
    ok : status for whoever may.
    foreign : status for a key of another workspace, and for an application of none.
    other : status for another application of the same workspace; None: as `ok`.
    form : sent as an upload instead of a body.
    but : caller → status, where it is another; `admin@` is one of any workspace.
    """

    route: str
    least: str
    path: str = ""
    body: Any = None
    platform: bool = False
    of: str | None = None
    ok: int = ALLOWED
    foreign: int = 404
    other: int | None = None
    form: bool = False
    but: Mapping[str, int] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]

    @property
    def concerns(self) -> bool:
        """Whether it is about something of one workspace."""
        return self.of is not None or "{workspace}" in f"{self.path}{self.body}"

    def call(self, **values: str) -> tuple[str, Any]:
        """Path and body with their values."""
        return _filled(self.path or self.route.partition(" ")[2], values), _filled(self.body, values)


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for name, given in values.items():
            value = value.replace(f"{{{name}}}", given)
        return value
    if isinstance(value, Mapping):
        return {name: _filled(one, values) for name, one in value.items()}
    return [_filled(one, values) for one in value] if isinstance(value, list) else value


_CHAT = {"model": "simulated/small", "messages": [{"role": "user", "content": "Hello"}]}
_TURN = {**_CHAT, "merit": {"conversation": "{id}"}}
_MESSAGE = {"model": "simulated/small", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
_BATCH = {"input_file_id": "{id}", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
_IN = "?workspace={workspace}"
_BENCHMARK = {"prompts": [{"prompt": "Hello"}], "models": ["simulated/small"], "dry_run": True}
_REGISTRY = "/v1/registry/models"
_PRICE = f"/v1/pricing/recommendations/{ZERO}"

GATEWAY = (
    Row("POST /v1/chat/completions", "application", body=_CHAT, ok=200),
    Row("POST /v1/chat/completions", "application", body=_TURN, of="conversation", ok=200, other=404,
        but={"analyst": 404, "admin": 404}),  # keys of the platform chat in the workspace `default`
    Row("POST /v1/embeddings", "application", body={"model": "simulated/embed", "input": "a river"}, ok=200),
    Row("POST /v1/messages", "application", body=_MESSAGE, ok=200),
    Row("POST /v1/messages/count_tokens", "application", body=_MESSAGE, ok=200),
    Row("POST /v1/files", "application", ok=200, form=True),
    Row("GET /v1/files", "application", ok=200),
    Row("GET /v1/files/{file_id}", "application", "/v1/files/{id}", of="file", ok=200, other=404),
    Row("GET /v1/files/{file_id}/content", "application", "/v1/files/{id}/content", of="file", ok=200, other=404),
    Row("DELETE /v1/files/{file_id}", "application", "/v1/files/{id}", of="file", ok=200, other=404),
    Row("POST /v1/batches", "application", body=_BATCH, of="file", ok=200, other=404),
    Row("GET /v1/batches", "application", ok=200),
    Row("GET /v1/batches/{batch_id}", "application", "/v1/batches/{id}", of="batch", ok=200, other=404),
    Row("POST /v1/batches/{batch_id}/cancel", "application", "/v1/batches/{id}/cancel", of="batch", other=404),
    Row("GET /v1/models", "application", ok=200),
    Row("GET /v1/models/{model:path}", "application", "/v1/models/simulated/small", ok=200),
    Row("POST /v1/llm/route", "application", body=_CHAT, ok=200),
    Row("GET /v1/llm/runs", "application", ok=200),
    Row("GET /v1/llm/runs", "application", f"/v1/llm/runs{_IN}", ok=200, foreign=403),
    Row("GET /v1/llm/runs/{run_id}", "application", "/v1/llm/runs/{id}", of="run", ok=200, other=404),
    Row("GET /v1/llm/providers", "analyst", platform=True, ok=200),
    Row("GET /v1/llm/health", "analyst", platform=True, ok=200),
    Row("GET /v1/llm/policy", "analyst", platform=True, ok=200),
    Row("GET /v1/llm/ensembles", "application", ok=200),
    Row("POST /v1/llm/feedback", "application", body={"call": "{id}", "thumb": "up"}, of="run", ok=201, other=404),
    Row("GET /v1/llm/feedback", "application", ok=200),
    Row("GET /v1/llm/feedback", "application", f"/v1/llm/feedback{_IN}", ok=200, foreign=403),
    Row("GET /v1/llm/preferences/{user:path}", "application", "/v1/llm/preferences/{id}" + _IN, of="liking", ok=200,
        foreign=403),
    Row("GET /v1/llm/preferences/{user:path}", "application", "/v1/llm/preferences/key:application@north", ok=200,
        but={"application": 403, "other@north": 403, "application@south": 403}),
    Row("PUT /v1/llm/preferences/{user:path}", "application", "/v1/llm/preferences/{id}" + _IN, {"tradeoff": 0.4},
        of="liking", ok=200, foreign=403),
    Row("DELETE /v1/llm/preferences/{user:path}", "application", "/v1/llm/preferences/{id}" + _IN, of="liking", ok=200,
        foreign=403),
    Row("POST /v1/llm/conversations", "application", f"/v1/llm/conversations{_IN}", {}, ok=201, foreign=403),
    Row("GET /v1/llm/conversations", "application", f"/v1/llm/conversations{_IN}", ok=200, foreign=403),
    Row("GET /v1/llm/conversations/{conversation_id}", "application", "/v1/llm/conversations/{id}", of="conversation",
        ok=200, other=404, but={"analyst": 404, "admin": 404, "analyst@": 403}),
    Row("GET /v1/llm/conversations/{conversation_id}", "application", "/v1/llm/conversations/{id}" + _IN,
        of="conversation", ok=200, foreign=403, other=404, but={"analyst": 403, "analyst@": 403}),
    Row("DELETE /v1/llm/conversations/{conversation_id}", "application", "/v1/llm/conversations/{id}",
        of="conversation", ok=200, other=404, but={"analyst": 404, "admin": 404, "analyst@": 403}),
    Row("POST /v1/llm/providers/{name}/drain", "admin", "/v1/llm/providers/simulated-local/drain", platform=True,
        ok=200),
    Row("POST /v1/llm/providers/{name}/undrain", "admin", "/v1/llm/providers/simulated-local/undrain", platform=True,
        ok=200),
    Row("POST /v1/llm/providers/{name}/reset", "admin", "/v1/llm/providers/simulated/reset", platform=True, ok=200),
    Row("POST /v1/llm/providers/{name}/probe", "admin", "/v1/llm/providers/simulated/probe", platform=True, ok=200),
    Row("POST /v1/llm/models/{model:path}/drain", "admin", "/v1/llm/models/simulated/coder/drain", platform=True,
        ok=200),
    Row("POST /v1/llm/models/{model:path}/undrain", "admin", "/v1/llm/models/simulated/coder/undrain", platform=True,
        ok=200),
    Row("POST /v1/llm/models/{model:path}/reset", "admin", "/v1/llm/models/simulated/coder/reset", platform=True,
        ok=200),
    Row("POST /v1/llm/reload", "admin", platform=True, ok=200),
    Row("GET /v1/usage", "application", ok=200),
    Row("GET /v1/usage", "application", f"/v1/usage{_IN}", ok=200, foreign=403),
    Row("GET /v1/budgets", "analyst", f"/v1/budgets{_IN}", ok=200, foreign=403),
    Row("POST /v1/budgets", "admin", body={"scope": "user", "subject": "{id}", "amount": 5, "workspace": "{workspace}"},
        of="name", ok=201, foreign=403),
    Row("POST /v1/budgets", "admin", body={"scope": "workspace", "subject": "{id}", "amount": 5}, of="name", ok=201,
        foreign=403, but={"admin@": 403}),
    Row("POST /v1/budgets", "admin", body={"scope": "key", "subject": "{id}", "amount": 5, "period": "day"}, of="key",
        ok=201),
    Row("GET /v1/budgets/{budget_id}", "analyst", "/v1/budgets/{id}", of="budget", ok=200),
    Row("PATCH /v1/budgets/{budget_id}", "admin", "/v1/budgets/{id}", {"amount": 6}, of="budget", ok=200),
    Row("PATCH /v1/budgets/{budget_id}", "admin", "/v1/budgets/{id}", {"amount": 6}, of="workspace budget", ok=200,
        but={"admin@": 403}),
    Row("DELETE /v1/budgets/{budget_id}", "admin", "/v1/budgets/{id}", of="budget", ok=200),
    Row("DELETE /v1/budgets/{budget_id}", "admin", "/v1/budgets/{id}", of="workspace budget", ok=200,
        but={"admin@": 403}),
    Row("GET /v1/costs/forecast", "analyst", f"/v1/costs/forecast{_IN}", foreign=403),
    Row("GET /v1/costs/crossings", "analyst", f"/v1/costs/crossings{_IN}", foreign=403),
    Row("GET /v1/costs/budgets", "analyst", f"/v1/costs/budgets{_IN}", foreign=403),
    Row("GET /v1/costs/analytics", "analyst", f"/v1/costs/analytics{_IN}", ok=200, foreign=403),
    Row("GET /v1/costs/scorecard", "analyst", platform=True, ok=200),
    Row("GET /v1/costs/anomalies", "analyst", f"/v1/costs/anomalies{_IN}", ok=200, foreign=403),
    Row("GET /v1/costs/anomalies/now", "analyst", f"/v1/costs/anomalies/now{_IN}", foreign=403),
    Row("POST /v1/benchmarks", "analyst", body=_BENCHMARK, ok=201),
    Row("GET /v1/benchmarks", "analyst", f"/v1/benchmarks{_IN}", ok=200, foreign=403),
    Row("GET /v1/benchmarks/{benchmark_id}", "analyst", "/v1/benchmarks/{id}", of="benchmark", ok=200),
    Row("GET /v1/benchmarks/{benchmark_id}/results", "analyst", "/v1/benchmarks/{id}/results", of="benchmark", ok=200),
    Row("POST /v1/benchmarks/{benchmark_id}/cancel", "analyst", "/v1/benchmarks/{id}/cancel", of="benchmark", ok=200),
    Row("POST /v1/finetunes", "admin", body={"base_model": "simulated/nano", "workspace": "{workspace}"}, ok=422,
        foreign=403),  # there are no examples here
    Row("GET /v1/finetunes", "analyst", f"/v1/finetunes{_IN}", ok=200, foreign=403),
    Row("GET /v1/finetunes/{finetune_id}", "analyst", "/v1/finetunes/{id}", of="finetune", ok=200),
    Row("POST /v1/finetunes/{finetune_id}/submit", "admin", "/v1/finetunes/{id}/submit", {"max_cost": 0},
        of="finetune", ok=402),
    Row("POST /v1/finetunes/{finetune_id}/cancel", "admin", "/v1/finetunes/{id}/cancel", of="finetune", ok=200),
    Row("POST /v1/finetunes/{finetune_id}/withdraw", "admin", "/v1/finetunes/{id}/withdraw", of="finetune", ok=409),
    Row("GET /v1/costs/anomalies/{anomaly_id}", "analyst", "/v1/costs/anomalies/{id}", of="anomaly", ok=200),
    Row("POST /v1/costs/anomalies/{anomaly_id}/decision", "analyst", "/v1/costs/anomalies/{id}/decision",
        {"state": "confirmed"}, of="anomaly", ok=200),
    # As of a moment at which there was nothing to ask about: nobody is called.
    Row("POST /v1/insights", "analyst", body={"question": "What did it cost?", "workspace": "{workspace}",
        "as_of": "2020-01-01T00:00:00Z"}, foreign=403),
    Row("GET /v1/insights", "analyst", f"/v1/insights{_IN}", ok=200, foreign=403),
    Row("GET /v1/insights/{insight_id}", "analyst", "/v1/insights/{id}", of="insight", ok=200),
    Row("GET /v1/costs/recommendations", "analyst", f"/v1/costs/recommendations{_IN}", ok=200, foreign=403),
    Row("GET /v1/costs/recommendations/{recommendation_id}", "analyst", "/v1/costs/recommendations/{id}",
        of="recommendation", ok=200),
    Row("POST /v1/costs/recommendations/{recommendation_id}/accept", "admin", "/v1/costs/recommendations/{id}/accept",
        {"reason": "a test"}, of="recommendation", ok=200),
    Row("POST /v1/costs/recommendations/{recommendation_id}/dismiss", "analyst",
        "/v1/costs/recommendations/{id}/dismiss", {"reason": "a test"}, of="recommendation", ok=200),
    Row("POST /v1/costs/recommendations/{recommendation_id}/revert", "admin", "/v1/costs/recommendations/{id}/revert",
        {"reason": "a test"}, of="followed recommendation", ok=200),
    Row("POST /v1/costs/recommendations/{recommendation_id}/measure", "analyst",
        "/v1/costs/recommendations/{id}/measure", of="followed recommendation"),
    Row("POST /v1/prompts/optimise", "application", body={"text": "Be polite.   Be brief."}, ok=200),
    # Without end where it is asked rightly.
    Row("GET /v1/events", "application", f"/v1/events{_IN}&since=1", ok=422, foreign=403),
    Row("POST /v1/events", "analyst", body={"kind": "custom.x", "workspace": "{workspace}"}, ok=201, foreign=403),
    Row("WS /v1/events", "application"),
    Row("GET /v1/workspaces", "analyst", ok=200),
    Row("GET /v1/workspaces/{name}", "analyst", "/v1/workspaces/{workspace}", ok=200, foreign=403),
    Row("PUT /v1/workspaces/{name}", "admin", "/v1/workspaces/{workspace}", {"keep": "plain"}, ok=200, foreign=403),
    Row("PUT /v1/workspaces/{name}", "admin", "/v1/workspaces/{workspace}", {"keep": "plain", "organisation": "{id}"},
        of="name", ok=200, foreign=403, but={"admin@": 403}),
    Row("PATCH /v1/workspaces/{name}", "admin", "/v1/workspaces/{workspace}", {"cache": "off"}, ok=200, foreign=403),
    Row("PATCH /v1/workspaces/{name}", "admin", "/v1/workspaces/{workspace}", {"allowed_models": ["*", "{id}"]},
        of="name", ok=200, foreign=403, but={"admin@": 403}),
    Row("DELETE /v1/workspaces/{name}", "admin", "/v1/workspaces/{id}", platform=True, of="workspace", ok=200),
    Row("GET /v1/workspaces/{name}/people/{user:path}", "admin", "/v1/workspaces/{workspace}/people/{id}", of="person",
        ok=200, foreign=403),
    Row("DELETE /v1/workspaces/{name}/people/{user:path}", "admin", "/v1/workspaces/{workspace}/people/{id}",
        of="person", ok=200, foreign=403),
    Row("GET /v1/audit", "admin", f"/v1/audit{_IN}", ok=200, foreign=403),
    Row("POST /v1/keys", "admin", body={"name": "{id}", "role": "application", "workspace": "{workspace}"}, of="name",
        ok=201, foreign=403),
    Row("POST /v1/keys", "admin", body={"name": "{id}", "role": "admin", "workspace": ""}, of="name", ok=422,
        foreign=422),
    Row("GET /v1/keys", "admin", ok=200),
    Row("DELETE /v1/keys/{key_id}", "admin", "/v1/keys/{id}", of="key", ok=200),
    Row("GET /metrics", "analyst", platform=True, ok=200),
)  # fmt: skip

PLATFORM = (
    Row("POST /v1/churn/predictions", "application", body={"customer_id": "c000001"}),
    Row("GET /v1/churn/predictions", "application", ok=200),
    Row("GET /v1/churn/predictions/{prediction_id}", "application", f"/v1/churn/predictions/{ZERO}", ok=404),
    Row("PUT /v1/churn/predictions/{prediction_id}/actual", "application", f"/v1/churn/predictions/{ZERO}/actual",
        {"churned": True}, ok=404),
    Row("GET /v1/churn/analytics", "application"),
    Row("GET /v1/churn/importance", "application"),
    Row("POST /v1/churn/retention-plans", "application",
        body={"offers": [{"name": "call", "cost": 1, "success": 0.2}], "budget": 10}),
    Row("GET /v1/churn/retention-plans", "application", ok=200),
    Row("GET /v1/churn/retention-plans/{plan_id}", "application", f"/v1/churn/retention-plans/{ZERO}", ok=404),
    Row("GET /v1/churn/retention-plans/{plan_id}/assignments", "application",
        f"/v1/churn/retention-plans/{ZERO}/assignments", ok=404),
    Row("POST /v1/forecasts", "application", body={"horizon": 1}),
    Row("GET /v1/forecasts", "application", ok=200),
    Row("GET /v1/forecasts/{forecast_id}", "application", f"/v1/forecasts/{ZERO}", ok=404),
    Row("GET /v1/forecasts/{forecast_id}/data", "application", f"/v1/forecasts/{ZERO}/data", ok=404),
    Row("POST /v1/forecasts/{forecast_id}/regenerate", "application", f"/v1/forecasts/{ZERO}/regenerate", ok=404),
    Row("GET /v1/forecasts/series", "application"),
    Row("GET /v1/forecasts/series/{unique_id:path}/decomposition", "application",
        "/v1/forecasts/series/api_calls/total/decomposition"),
    Row("POST /v1/forecasts/capacity", "application", body={"series": "api_calls/total", "threshold": 100}),
    Row("POST /v1/segments/assign", "application", body={"customer_id": "c000001"}),
    Row("GET /v1/segments", "application"),
    Row("GET /v1/segments/analytics", "application"),
    Row("GET /v1/segments/movements", "application"),
    Row("GET /v1/segments/customers/{customer_id}/history", "application", "/v1/segments/customers/c000001/history"),
    Row("GET /v1/segments/{segment_id}", "application", "/v1/segments/1"),
    Row("GET /v1/segments/{segment_id}/members", "application", "/v1/segments/1/members"),
    Row("POST /v1/anomalies/check", "application", body={"history": [{"value": 1}], "values": [{"value": 2}]}),
    Row("GET /v1/anomalies", "application", ok=200),
    Row("GET /v1/anomalies/series", "application", ok=200),
    Row("POST /v1/pricing/recommendations", "application", body={"product": "tea"}),
    Row("GET /v1/pricing/recommendations", "application", ok=200),
    Row("GET /v1/pricing/recommendations/{recommendation_id}", "application", _PRICE, ok=404),
    Row("POST /v1/pricing/recommendations/{recommendation_id}/implemented", "analyst", f"{_PRICE}/implemented",
        {"price": 1.0, "date": "2026-03-01"}, platform=True, ok=404),
    Row("POST /v1/pricing/recommendations/{recommendation_id}/dismissed", "analyst", f"{_PRICE}/dismissed", {},
        platform=True, ok=404),
    Row("POST /v1/pricing/recommendations/{recommendation_id}/outcome", "analyst", f"{_PRICE}/outcome",
        {"observed": [{"date": "2026-03-01", "quantity": 1}]}, platform=True, ok=404),
    Row("POST /v1/pricing/simulations", "application", body={"horizon_days": 7}),
    Row("GET /v1/pricing/elasticities", "application"),
    Row("GET /v1/pricing/positions", "application"),
    Row("GET /v1/pricing/analytics", "application", ok=200),
    Row("GET /v1/registry/models", "analyst", platform=True, ok=200),
    Row("GET /v1/registry/models/{name}", "analyst", f"{_REGISTRY}/churn", platform=True, ok=404),
    Row("GET /v1/registry/models/{name}/versions", "analyst", f"{_REGISTRY}/churn/versions", platform=True, ok=404),
    Row("GET /v1/registry/models/{name}/versions/{version}/card", "analyst", f"{_REGISTRY}/churn/versions/1/card",
        platform=True, ok=404),
    Row("GET /v1/registry/models/{name}/history", "analyst", f"{_REGISTRY}/churn/history", platform=True, ok=404),
    Row("POST /v1/registry/models/{name}/promote", "admin", f"{_REGISTRY}/churn/promote",
        {"version": 99, "reason": "a test"}, platform=True, ok=404),
    Row("POST /v1/registry/models/{name}/rollback", "admin", f"{_REGISTRY}/churn/rollback", {"reason": "a test"},
        platform=True),
    Row("GET /v1/registry/models/{name}/monitoring", "analyst", f"{_REGISTRY}/churn/monitoring", platform=True),
    Row("GET /v1/registry/models/{name}/monitoring/{report_id}", "analyst", f"{_REGISTRY}/churn/monitoring/{ZERO}",
        platform=True, ok=404),
    Row("GET /v1/registry/models/{name}/shadow", "analyst", f"{_REGISTRY}/churn/shadow", platform=True),
    Row("PUT /v1/registry/models/{name}/shadow", "admin", f"{_REGISTRY}/churn/shadow", {"version": 99}, platform=True),
    Row("DELETE /v1/registry/models/{name}/shadow", "admin", f"{_REGISTRY}/churn/shadow", platform=True),
    Row("POST /v1/flows/{name}/runs", "analyst", "/v1/flows/train-churn/runs", {}, platform=True, ok=503),
    Row("GET /v1/flows/runs/{run_id}", "analyst", f"/v1/flows/runs/{RUN}", platform=True, ok=503),
    Row("GET /docs", "anybody", ok=200),
    Row("GET /docs/oauth2-redirect", "anybody", ok=200),
    Row("GET /redoc", "anybody", ok=200),
    Row("GET /openapi.json", "anybody", ok=200),
    Row("GET /", "anybody", ok=200),
    Row("GET /healthz", "anybody", ok=200),
    Row("GET /readyz", "anybody", ok=503),
)  # fmt: skip

TABLE = (*GATEWAY, *PLATFORM)
