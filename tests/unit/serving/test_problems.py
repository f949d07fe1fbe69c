"""Problem details: every error of the tree, validation, routes, methods and the unforeseen."""

from __future__ import annotations

import inspect
import logging
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import OperationalError

from serving import problems
from serving.limits import BodyLimit, check_batch
from serving.requests import RequestIds
from store import errors

SECRET = "postgresql://admin:hunter2@db"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    horizon: Annotated[int, Field(ge=1, le=365)]
    name: str = "a"


def make_app(limit: int = 2_000) -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.post("/echo")
    async def echo(body: Inner) -> dict[str, Any]:
        return body.model_dump()

    @app.get("/number")
    async def number(value: Annotated[int, Query()]) -> int:
        return value

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        kind = getattr(errors, name, None)
        if kind is None:
            raise RuntimeError(f"surprise {SECRET}")
        raise kind("It is wrong.", remedy="Mend it.", field="thing", value="x" * 500)

    @app.get("/database")
    async def database() -> None:
        raise OperationalError(f"SELECT '{SECRET}'", {}, Exception(SECRET))

    app.add_middleware(BodyLimit, limit=limit)
    app.add_middleware(RequestIds)
    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(make_app())


TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.MeritError)]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_is_a_problem(client: TestClient, kind: type[errors.MeritError]) -> None:
    response = client.get(f"/raise/{kind.__name__}")
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert body["status"] == response.status_code == problems.status_of(kind("x"))
    assert body["detail"] == "It is wrong."
    assert body["remedy"] == "Mend it."
    assert body["field"] == "thing"
    assert body["value"] == "x" * problems.LONGEST_VALUE + "…"
    assert body["type"].startswith("urn:merit:problem:")
    assert body["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("UnknownEntity", 404), ("UnknownModel", 404), ("UnknownVersion", 404), ("WrongType", 422),
        ("InvalidValue", 422), ("NoChampion", 503), ("ServiceUnavailable", 503), ("PromotionConflict", 409),
        ("AccessDenied", 403),
    ],
)  # fmt: skip
def test_the_status_says_what_happened(client: TestClient, name: str, status: int) -> None:
    assert client.get(f"/raise/{name}").status_code == status


def test_a_missing_key_is_401_and_says_how(client: TestClient) -> None:
    response = problems.of_merit_error(errors.AccessDenied("No key.", remedy="Send one.", field="Authorization"))
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_validation_names_field_value_and_remedy_and_never_the_schema(client: TestClient) -> None:
    response = client.post("/echo", json={"horizon": 9_999, "hroizon": 1, "name": ["y" * 1_000]})
    body = response.json()
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert body["field"] == "horizon"
    assert body["value"] == 9999
    assert "365" in body["detail"]
    assert [entry["field"] for entry in body["errors"]] == ["horizon", "name", "hroizon"]
    assert all(entry["remedy"] for entry in body["errors"])
    assert len(response.content) < 1_500
    assert "properties" not in response.text


def test_values_are_json_and_cut_item_by_item() -> None:
    assert problems.shorten(["NOPE", "X"]) == ["NOPE", "X"]
    assert problems.shorten([]) == []
    assert problems.shorten({"a": [1, None, True], "b": {"c": 1.5}}) == {"a": [1, None, True], "b": {"c": 1.5}}
    assert problems.shorten(list(range(1_000))) == [*range(10), "… 990 more"]
    assert problems.shorten(["x" * 500])[0] == "x" * problems.LONGEST_VALUE + "…"
    nested = problems.shorten([list(range(1_000))])
    assert nested[0].startswith("[0,1,2,")
    assert len(nested[0]) == problems.LONGEST_VALUE + 1
    wide = problems.shorten({f"{number}" * 300: number for number in range(30)})
    assert len(wide) == 11
    assert wide["…"] == "20 more"


def test_a_list_is_answered_as_a_list_and_bytes_are_left_out(client: TestClient) -> None:
    body = client.post("/echo", json={"horizon": [1, 2]}).json()
    assert body["value"] == [1, 2]
    assert body["errors"][0]["value"] == [1, 2]
    for content, kind in ((b"horizon=3", "application/x-www-form-urlencoded"), (b"\xff\x00", "text/plain")):
        body = client.post("/echo", content=content, headers={"content-type": kind}).json()
        assert body["field"] == "body"
        assert "value" not in body
        assert "value" not in body["errors"][0]


@pytest.mark.parametrize(
    "horizon", ['"\\ud800"', "1" * 40, "[" * 400 + "]" * 400, '["\\ud800", [1e999]]', '{"\\ud800": 1}'], ids=range(5)
)
def test_a_value_that_cannot_be_written_as_it_came(client: TestClient, horizon: str) -> None:
    response = client.post("/echo", content=f'{{"horizon": {horizon}}}', headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert response.json()["field"] == "horizon"
    assert len(response.content) < 1_000


def test_a_missing_field_and_a_query_parameter(client: TestClient) -> None:
    body = client.post("/echo", json={"name": "b"}).json()
    assert body["field"] == "horizon"
    assert body["value"] is None
    assert "Add `horizon`" in body["remedy"]
    body = client.get("/number?value=abc").json()
    assert (body["field"], body["value"]) == ("value", "abc")


def test_broken_json_is_400_with_the_position(client: TestClient) -> None:
    response = client.post("/echo", content=b'{"horizon": 3,', headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["type"] == "urn:merit:problem:invalid-json"
    assert "position" in response.json()["detail"]


def test_a_body_without_its_content_type_says_which_to_send(client: TestClient) -> None:
    response = client.post("/echo", content=b'{"horizon": 3}', headers={"content-type": "text/plain"})
    assert response.status_code == 422
    assert "Content-Type: application/json" in response.json()["remedy"]


def test_unknown_route_and_method(client: TestClient) -> None:
    response = client.get("/nowhere")
    assert response.status_code == 404
    assert response.json()["type"] == "urn:merit:problem:unknown-route"
    response = client.delete("/echo")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert "POST" in response.json()["remedy"]


def test_an_unexpected_error_has_an_id_that_is_in_the_log_and_shows_nothing(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = client.get("/raise/nothing")
    assert response.status_code == 500
    assert SECRET not in response.text
    assert "Traceback" not in response.text
    assert response.json()["request_id"] in caplog.text
    assert "surprise" in caplog.text


def test_a_database_that_does_not_answer_is_503_without_its_address(client: TestClient) -> None:
    response = client.get("/database")
    assert response.status_code == 503
    assert SECRET not in response.text
    assert "merit doctor" in response.json()["remedy"]


def test_the_request_id_of_the_caller_is_kept_when_well_formed(client: TestClient) -> None:
    assert client.get("/number?value=1", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    replaced = client.get("/number?value=1", headers={"X-Request-ID": "a b\tc" * 40}).headers["x-request-id"]
    assert len(replaced) < 64
    assert replaced != client.get("/number?value=1").headers["x-request-id"]


def test_a_body_above_the_limit_is_413_by_its_length_and_as_it_arrives(client: TestClient) -> None:
    big = b'{"horizon": 3, "name": "' + b"z" * 3_000 + b'"}'
    declared = client.post("/echo", content=big, headers={"content-type": "application/json"})
    chunked = client.post(
        "/echo", content=iter([big[:1_000], big[1_000:]]), headers={"content-type": "application/json"}
    )
    for response in (declared, chunked):
        assert response.status_code == 413
        assert response.headers["content-type"] == "application/problem+json"
        assert "2,000" in response.json()["detail"]
        assert response.json()["type"] == "urn:merit:problem:body-too-large"
        assert "MERIT_MAX_BODY_BYTES" in response.json()["remedy"]
    small = client.post("/echo", content=iter([b'{"hor', b'izon": 3}']), headers={"content-type": "application/json"})
    assert small.json() == {"horizon": 3, "name": "a"}


def test_a_batch_above_the_limit_names_the_limit() -> None:
    check_batch(10, 10, "rows")
    with pytest.raises(errors.InvalidValue, match="10 in one request"):
        check_batch(11, 10, "rows")
