"""Whatever the OpenAPI description allows, and some of what it does not, is answered; nothing is unexpected."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis import GenerationMode

from serving.app import create_app
from serving.routes.chat import MeritField
from store.settings import Settings
from tests.integration.serving_llm.conftest import Api, Run

# Each way: as described, and not quite.
EXAMPLES, PROMPTS = 5, 60
# A key that was made would close the API; events have no end.
LEFT_OUT = {"POST /v1/keys", "GET /v1/events"}


def operations() -> dict[str, Any]:
    schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
    found = {one.label: one for one in (result.ok() for result in schema.get_all_operations())}
    return {label: one for label, one in found.items() if label not in LEFT_OUT}


OPERATIONS = operations()


@pytest.fixture(scope="module")
def fuzzed(
    make_home: Callable[..., Settings], run: Run, simulator_process: Any
) -> Iterator[tuple[Api, dict[str, str]]]:
    """An open API that keeps words, and ids of what there is in it."""
    simulator_process.reset()
    with run(make_home()) as api:
        api.told(api.ask(None, "PUT", "/v1/workspaces/default", json={"keep": "plain"}))
        known = {
            "run_id": api.chat(None, user="ada"),
            "budget_id": api.post(None, "/v1/budgets", {"scope": "user", "amount": 5})["id"],
            "conversation_id": api.post(None, "/v1/llm/conversations", {})["id"],
            "user": "ada",
        }
        yield api, known


@pytest.mark.parametrize("label", OPERATIONS)
def test_nothing_is_unexpected(fuzzed: Any, label: str) -> None:
    api, known = fuzzed
    operation = OPERATIONS[label]
    names = {one.name for one in operation.path_parameters}
    there = {"path_parameters": {name: known[name] for name in names}} if names and names <= known.keys() else {}
    for strategy in (operation.as_strategy(**there), operation.as_strategy(GenerationMode.NEGATIVE)):

        @hypothesis.settings(
            max_examples=EXAMPLES,
            phases=(Phase.generate,),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def ask(case: Any) -> None:
            check(api, case)

        try:
            ask()
        except hypothesis.errors.Unsatisfiable:
            assert not names  # a route that takes nothing cannot be asked wrongly


ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.text(max_size=20)


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What is expected there, and now and then anything."""
    return st.sampled_from([usual] * 24 + [ANY]).flatmap(lambda chosen: chosen)


def thing(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> Any:
    return st.fixed_dictionaries(required, optional=optional)


FUNCTION = thing({"name": mostly(TEXT)}, arguments=mostly(TEXT | st.just("{}")), parameters=ANY, description=ANY)
PARTS = thing(
    {"type": mostly(st.sampled_from(["text", "image_url", "image", "input_audio", "file", "tool_use", "tool_result"]))},
    text=mostly(TEXT),
    image_url=mostly(thing({"url": mostly(TEXT | st.just("data:image/png;base64,AAAA"))})),
    source=mostly(thing({"type": mostly(st.just("base64"))}, data=ANY, media_type=ANY)),
    input_audio=ANY,
    file=ANY,
    id=mostly(TEXT),
    tool_use_id=mostly(TEXT),
    name=ANY,
    input=ANY,
    content=ANY,
    cache_control=ANY,
)
CALLS = st.lists(
    thing({"id": mostly(TEXT), "type": mostly(st.just("function")), "function": mostly(FUNCTION)}), max_size=2
)
MESSAGE = thing(
    {
        "role": mostly(st.sampled_from(["system", "user", "assistant", "tool", "developer"])),
        "content": mostly(TEXT | st.lists(PARTS, max_size=3) | st.none()),
    },
    tool_calls=mostly(CALLS),
    tool_call_id=mostly(TEXT),
    name=ANY,
    refusal=ANY,
    reasoning_content=ANY,
    reasoning_blocks=mostly(st.lists(ANY, max_size=2)),
)
MERIT = st.fixed_dictionaries({}, optional=dict.fromkeys(MeritField.model_fields, ANY))
BODY = thing(
    {
        "model": mostly(
            st.sampled_from(["auto", "cheapest", "best", "simulated/small", "ensemble/majority", "private"])
        ),
        "messages": mostly(st.lists(MESSAGE, min_size=1, max_size=3)),
        "max_tokens": mostly(st.integers(1, 50)),
    },
    stream=mostly(st.booleans()),
    stream_options=mostly(thing({}, include_usage=ANY)),
    tools=mostly(st.lists(thing({"type": mostly(st.just("function")), "function": mostly(FUNCTION)}), max_size=2)),
    tool_choice=ANY,
    response_format=mostly(thing({"type": mostly(st.sampled_from(["json_object", "json_schema"]))}, json_schema=ANY)),
    n=mostly(st.integers(1, 2)),
    temperature=mostly(st.floats(0, 2)),
    stop=ANY,
    user=mostly(TEXT),
    metadata=ANY,
    system=ANY,
    thinking=ANY,
    input=ANY,
    dimensions=ANY,
    merit=mostly(MERIT),
)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/llm/route",
        "/v1/embeddings",
        "/v1/llm/conversations",
    ],
)
@hypothesis.settings(
    max_examples=PROMPTS,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
@given(body=BODY)
def test_no_prompt_is_unexpected(fuzzed: Any, path: str, body: dict[str, Any]) -> None:
    if path.endswith("conversations"):
        body = {name: body[name] for name in ("messages", "user") if name in body}
    look(
        fuzzed[0].ask(
            None, "POST", path, content=_bytes(json.dumps(body)), headers={"content-type": "application/json"}
        )
    )


def check(api: Api, case: Any) -> None:
    """Send a case, and look at what is answered to it."""
    told = case.as_transport_kwargs(base_url="")
    given: dict[str, Any] = {}
    if told.get("files"):
        given["files"] = [(name, (file, _bytes(content))) for name, (file, content, *_) in told["files"]]
    elif isinstance(told.get("data"), bytes | str):
        given["content"] = _bytes(told["data"])
        given["headers"] = {"content-type": case.media_type or "application/json"}
    elif "json" in told:
        given["content"] = _bytes(json.dumps(told["json"]))
        given["headers"] = {"content-type": "application/json"}
    query = urlencode(told["params"], doseq=True)
    answer = api.ask(None, told["method"], f"{told['url']}?{query}", **given)
    look(answer, ready=case.operation.label == "GET /readyz")


def look(answer: Any, *, ready: bool = False) -> None:
    """An answer is none that nobody foresaw, and an error is a problem that says what was wrong."""
    assert answer.status_code != 500, answer.text
    if answer.status_code >= 400 and not ready:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem["status"], bool(problem["detail"])) == (answer.status_code, True)
        assert answer.headers["x-request-id"]
    elif answer.headers["content-type"] == "application/json":
        answer.json()


def _bytes(content: Any) -> bytes:
    return content if isinstance(content, bytes) else str(content).encode("utf-8", "surrogatepass")
