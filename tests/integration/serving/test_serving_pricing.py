"""Prices over HTTP: recommendations and what becomes of them, scenarios, elasticities, positions, analytics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.pricing.advice import Constraints, Question, Scenario
from models.pricing.model import PricingModel
from store import keys

PATH = "/v1/pricing/recommendations"
DAY = date(2026, 3, 1)


@pytest.fixture(scope="module")
def model(pricing_folders: Any) -> PricingModel:
    """What is served: tea in two segments, salt, jam whose price never varied."""
    return PricingModel.load(pricing_folders["pricing"])


def ask(client: TestClient, **body: Any) -> Any:
    response = client.post(PATH, json=body)
    assert response.status_code == 201, response.text
    return response.json()


def test_a_recommendation_is_what_the_model_says(client: TestClient, model: PricingModel, shared: Any) -> None:
    limits = {"floor": 3.7, "max_change": 0.2, "min_margin": 0.3}
    response = client.post(
        PATH,
        json={"product": "tea", "unit_cost": 1.5, "constraints": limits, "horizon_days": 30, "level": 0.8},
        headers={"X-Request-ID": "r-7"},
    )
    made = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"{PATH}/{made['id']}"
    said = model.advise(
        Question("tea", unit_cost=1.5, constraints=Constraints(3.7, None, 0.2, 0.3), horizon_days=30, level=0.8)
    )
    assert (made["advised"], made["price"], made["reason"]) == (True, said.price, said.reason)
    assert made["gain_margin"] == vars(said.gain_margin)
    assert made["then"]["revenue"] == vars(said.then.revenue)  # type: ignore[union-attr]
    assert made["elasticity"]["value"] == -1.8
    assert made["binding"] == list(said.binding)
    assert [one["segment"] for one in made["segments"]] == ["north", "south"]
    assert made["question"]["constraints"] == {**limits, "ceiling": None, "fairness": None}
    assert (made["state"], made["model"], made["version"], made["request_id"]) == ("proposed", "pricing", 1, "r-7")
    assert made["dataset_digest"] == "d" * 64
    assert made["run_id"] == shared.registry.version("pricing", 1).run_id
    assert made["created_at"].endswith("Z")
    assert client.get(f"{PATH}/{made['id']}").json() == made


def test_what_is_not_said_is_taken_from_the_data(client: TestClient, model: PricingModel) -> None:
    made = ask(client, product="tea", segment="north")
    assert made["question"]["unit_cost"] == model.unit_cost("tea", "north") == 1.5
    assert made["current_price"] == 4.0
    assert ask(client, product="tea", segment="north", unit_cost=0)["question"]["unit_cost"] == 0
    other = ask(client, product="salt", current_price=1.1, competitor_price=1.0, objective="revenue")
    assert (other["current_price"], other["question"]["objective"]) == (1.1, "revenue")
    assert other["position"] == pytest.approx(other["price"] / 1.0)


def test_where_the_data_cannot_tell_it_says_why_and_what_would(client: TestClient) -> None:
    response = client.post(PATH, json={"product": "jam"})
    made = response.json()
    assert response.status_code == 201
    assert made["advised"] is False
    assert made["state"] == "cannot_advise"
    assert made["reason"].startswith("cannot advise, because its price never varied")
    assert "8 weeks" in made["experiment"]
    assert (made["price"], made["then"], made["gain_margin"]) == (3.0, None, None)
    # What cannot be estimated is no number.
    assert made["elasticity"]["value"] is None
    assert client.get(f"{PATH}/{made['id']}").json() == made


def test_several_all_and_every_segment(client: TestClient) -> None:
    several = ask(client, products=["salt", "tea", "salt"], unit_costs={"tea": 2.0}, unit_cost=0.25)
    assert [one["product"] for one in several["recommendations"]] == ["salt", "tea"]
    assert [one["question"]["unit_cost"] for one in several["recommendations"]] == [0.25, 2.0]
    assert (several["advised"], several["model"], several["version"]) == (2, "pricing", 1)
    everything = ask(client)
    assert [one["product"] for one in everything["recommendations"]] == ["tea", "salt", "jam"]
    assert (everything["advised"], everything["refused"]) == (2, [])
    each = ask(client, each_segment=True)["recommendations"]
    assert [(one["product"], one["segment"]) for one in each] == [
        ("tea", "north"),
        ("tea", "south"),
        ("salt", None),
        ("jam", None),
    ]
    assert [one["segment"] for one in ask(client, product="tea", each_segment=True)["recommendations"]] == [
        "north",
        "south",
    ]
    for one in everything["recommendations"]:
        assert client.get(f"{PATH}/{one['id']}").json() == one


def test_one_impossible_question_does_not_refuse_the_others(client: TestClient) -> None:
    # Salt costs 1.0: the floor of 3 and a step of a tenth contradict each other, for tea they do not.
    limits = {"floor": 3.0, "max_change": 0.1}
    made = ask(client, products=["salt", "tea"], constraints=limits)
    assert [one["product"] for one in made["recommendations"]] == ["tea"]
    assert [(one["product"], one["segment"]) for one in made["refused"]] == [("salt", None)]
    assert "floor" in made["refused"][0]["detail"]
    for products in ({"product": "salt"}, {"products": ["salt"]}):
        response = client.post(PATH, json={**products, "constraints": limits})
        assert response.status_code == 422
        assert "floor" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field", "status"),
    [
        ({"product": "coffee"}, "product", 404),
        ({"products": ["tea", "coffee", "cocoa"]}, "products", 404),
        ({"unit_costs": {"coffee": 1.0}}, "unit_costs", 404),
        ({"product": "tea", "segment": "west"}, "segment", 404),
        ({"product": "salt", "segment": "west"}, "segment", 404),
        ({"product": "tea", "products": ["tea"]}, "products", 422),
        ({"products": []}, "products", 422),
        ({"product": "tea", "segment": "north", "each_segment": True}, "each_segment", 422),
        ({"products": ["tea"], "current_price": 2.0}, "current_price", 422),
        ({"competitor_price": 2.0}, "competitor_price", 422),
        ({"product": "tea", "current_price": 0}, "current_price", 422),
        ({"product": "tea", "current_price": "2,50 €"}, "current_price", 422),
        ({"product": "tea", "unit_cost": -1}, "unit_cost", 422),
        ({"product": "tea", "level": 90}, "level", 422),
        ({"product": "tea", "horizon_days": 366}, "horizon_days", 422),
        ({"product": "tea", "objective": "fame"}, "objective", 422),
        ({"product": "tea", "constraints": {"floor": 5, "ceiling": 4}}, "constraints.floor", 422),
        ({"product": "tea", "constraints": {"min_margin": 1}}, "constraints.min_margin", 422),
        ({"product": "tea", "constraints": {"cieling": 4}}, "constraints.cieling", 422),
        ({"product": "te\x00a"}, "product", 422),
        ({"product": 7}, "product", 422),
        ({"prodct": "tea"}, "prodct", 422),
        ({"model": "nothing"}, "model", 404),
        ({"model": "churn"}, "model", 422),
    ],
)
def test_a_question_that_does_not_fit_names_the_field(
    client: TestClient, body: dict[str, Any], field: str, status: int
) -> None:
    response = client.post(PATH, json=body)
    answer = response.json()
    assert response.status_code == status, answer
    assert answer["field"] == field
    assert answer["remedy"]
    assert response.headers["content-type"] == "application/problem+json"


def test_too_many_questions_are_refused(world: Any, open_client: Callable[..., Any]) -> None:
    world.champion("pricing", "pricing")
    with open_client(world.settings.model_copy(update={"max_batch": 2})) as client:
        response = client.post(PATH, json={})
        assert response.status_code == 422
        assert "limit is 2" in response.json()["detail"]
        assert client.get(PATH).json()["recommendations"] == []


def test_without_a_champion_it_is_503_with_what_to_run(world: Any, open_client: Callable[..., Any]) -> None:
    with open_client(world.settings) as client:
        for method, path in (
            ("POST", PATH),
            ("POST", "/v1/pricing/simulations"),
            ("GET", "/v1/pricing/elasticities"),
            ("GET", "/v1/pricing/positions"),
        ):
            response = client.request(method, path, json={} if method == "POST" else None)
            assert response.status_code == 503
            assert "`merit train pricing`" in response.json()["remedy"]
        assert client.get("/v1/pricing/analytics").json()["total"]["asked"] == 0


def test_pages_and_filters(client: TestClient) -> None:
    begin = datetime.now(UTC).isoformat()
    made = [ask(client, product=name) for name in ("tea", "salt", "jam") for _ in range(2)]
    made.append(ask(client, product="tea", segment="south"))
    seen: list[str] = []
    cursor = None
    while True:
        page = client.get(PATH, params={"limit": 3, "since": begin, **({"cursor": cursor} if cursor else {})}).json()
        seen += [one["id"] for one in page["recommendations"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [one["id"] for one in reversed(made)]

    def ids(**parameters: Any) -> set[str]:
        found = client.get(PATH, params={"since": begin, **parameters}).json()
        return {one["id"] for one in found["recommendations"]}

    assert ids(product="salt") == {made[2]["id"], made[3]["id"]}
    assert ids(segment="south") == {made[6]["id"]}
    assert ids(state="cannot_advise") == {made[4]["id"], made[5]["id"]}
    assert ids(version=2) == set()
    assert ids(model="pricing", until=made[3]["created_at"]) == {one["id"] for one in made[:3]}
    for wrong in ({"state": "open"}, {"limit": 0}, {"cursor": "x"}, {"version": 0}):
        assert client.get(PATH, params=wrong).status_code == 422
    assert client.get(f"{PATH}/{'0' * 32}").status_code == 404
    assert client.get(f"{PATH}/xyz").status_code == 422


def observed(days: int, quantity: float, start: date = DAY) -> list[dict[str, Any]]:
    return [{"date": (start + timedelta(days=day)).isoformat(), "quantity": quantity} for day in range(days)]


def implement(client: TestClient, made: Any, price: float, day: date = DAY) -> None:
    done = client.post(f"{PATH}/{made['id']}/implemented", json={"price": price, "date": day.isoformat()})
    assert done.status_code == 200, done.text


def test_from_the_question_to_the_outcome(client: TestClient, model: PricingModel) -> None:
    made = ask(client, product="salt")
    place = f"{PATH}/{made['id']}"
    early = client.post(f"{place}/outcome", json={"observed": observed(3, 5.0)})
    assert (early.status_code, early.json()["field"], early.json()["value"]) == (409, "state", "proposed")
    done = client.post(f"{place}/implemented", json={"price": 1.08, "date": DAY.isoformat()}).json()
    assert (done["state"], done["implemented"]["price"], done["implemented"]["date"]) == (
        "implemented",
        1.08,
        "2026-03-01",
    )
    assert done["implemented"]["by"] == "local"
    for again in (
        client.post(f"{place}/implemented", json={"price": 1.2, "date": DAY.isoformat()}),
        client.post(f"{place}/dismissed", json={"reason": "late"}),
    ):
        assert again.status_code == 409
        assert "implemented at 1.08 from 2026-03-01" in again.json()["detail"]
    response = client.post(f"{place}/outcome", json={"observed": list(reversed(observed(28, 6.0)))})
    assert response.status_code == 200, response.text
    outcome = response.json()["measured"]
    assert (outcome["days"], outcome["quantity"], outcome["first_day"], outcome["last_day"]) == (
        28,
        168.0,
        "2026-03-01",
        "2026-03-28",
    )
    assert outcome["revenue"] == pytest.approx(168 * 1.08)
    assert outcome["learned_days"] == 0
    # 5 a day at 1.00, elasticity −0.6.
    expected = 28 * 5.0 * 1.08**-0.6 * 1.08
    assert outcome["expected_revenue"]["value"] == pytest.approx(expected, rel=0.01)
    assert outcome["expected_revenue"]["low"] < expected < outcome["expected_revenue"]["high"]
    assert outcome["verdict"] in ("above", "as expected")
    assert outcome["gained_revenue"]["value"] == pytest.approx(168 * 1.08 - 28 * 5.0 * 1.0, rel=0.01)
    assert outcome["gained_revenue"]["low"] < outcome["gained_revenue"]["value"] < outcome["gained_revenue"]["high"]
    assert client.get(place).json() == response.json()
    last = client.post(f"{place}/outcome", json={"observed": observed(3, 5.0)})
    assert (last.status_code, last.json()["value"]) == (409, "measured")


def test_far_more_than_expected_is_above_and_far_less_below(client: TestClient) -> None:
    for quantity, verdict in ((50.0, "above"), (0.0, "below")):
        made = ask(client, product="salt")
        implement(client, made, 1.0)
        done = client.post(f"{PATH}/{made['id']}/outcome", json={"observed": observed(28, quantity)}).json()
        assert done["measured"]["verdict"] == verdict


def test_days_that_the_version_had_learned_from_are_told(client: TestClient) -> None:
    made = ask(client, product="salt")
    implement(client, made, 1.0, DAY - timedelta(days=10))
    body = {"observed": observed(28, 5.0, DAY - timedelta(days=10))}
    assert client.post(f"{PATH}/{made['id']}/outcome", json=body).json()["measured"]["learned_days"] == 10


def test_a_price_set_without_advice_is_measured_against_no_response(client: TestClient) -> None:
    """The experiment that would settle it: of another price the version expects what it expects of the present one."""
    made = ask(client, product="jam")
    implement(client, made, 2.7)
    response = client.post(f"{PATH}/{made['id']}/outcome", json={"observed": observed(7, 8.0)})
    assert response.status_code == 200
    outcome = response.json()["measured"]
    assert outcome["expected_revenue"]["value"] == pytest.approx(7 * 8 * 2.7)
    assert "as if it made no difference" in outcome["details"]["note"]
    assert outcome["gained_revenue"]["value"] == pytest.approx(7 * 8 * (2.7 - 3.0))


def test_dismissing_keeps_the_reason(client: TestClient) -> None:
    made = ask(client, product="tea")
    done = client.post(f"{PATH}/{made['id']}/dismissed", json={"reason": "promised not to"}).json()
    assert (done["state"], done["dismissed"]["reason"], done["dismissed"]["by"]) == (
        "dismissed",
        "promised not to",
        "local",
    )
    late = client.post(f"{PATH}/{made['id']}/implemented", json={"price": 1.0, "date": "2026-03-01"})
    assert late.status_code == 409
    assert late.json()["type"] == "urn:merit:problem:state-conflict"


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([], "observed"),
        (observed(1, -1.0), "observed.0.quantity"),
        (observed(2, 1.0) + observed(1, 2.0), "observed.2.date"),
        (observed(2, 1.0, DAY - timedelta(days=1)), "observed.0.date"),
        ([{"date": "2099-01-01", "quantity": 1}], "observed.0.date"),
        ([{"date": "1.3.2026", "quantity": 1}], "observed.0.date"),
        ([{"date": "2026-03-01", "quantity": "many"}], "observed.0.quantity"),
        ([{"date": "2026-03-01", "quantity": 1, "price": 2}], "observed.0.price"),
    ],
)
def test_observations_that_do_not_fit_name_the_row(client: TestClient, rows: Any, field: str) -> None:
    made = ask(client, product="salt")
    implement(client, made, 1.05)
    response = client.post(f"{PATH}/{made['id']}/outcome", json={"observed": rows})
    assert response.status_code == 422
    assert response.json()["field"] == field
    assert client.get(f"{PATH}/{made['id']}").json()["state"] == "implemented"


def test_prices_that_cannot_have_been_set(client: TestClient) -> None:
    made = ask(client, product="salt")
    for body, field in (
        ({"price": -1, "date": "2026-03-01"}, "price"),
        ({"price": 1.0}, "date"),
        ({"price": 1.0, "date": "2999-01-01"}, "date"),
        ({"price": 1.0, "date": "2026-03-01", "by": "me"}, "by"),
    ):
        response = client.post(f"{PATH}/{made['id']}/implemented", json=body)
        assert response.status_code == 422
        assert response.json()["field"] == field
    assert client.get(f"{PATH}/{made['id']}").json()["state"] == "proposed"


def test_an_outcome_is_told_by_the_version_that_recommended(world: Any, open_client: Callable[..., Any]) -> None:
    """A later champion has learned from the days it would have to foretell."""
    world.champion("pricing", "pricing")
    with open_client(world.settings) as client:
        made = ask(client, product="salt")
        implement(client, made, 1.1)
        world.champion("pricing-later", "pricing")
        client.app.state.services.champions.look()
        assert ask(client, product="salt")["version"] == 2
        done = client.post(f"{PATH}/{made['id']}/outcome", json={"observed": observed(28, 5.0)}).json()
        assert done["measured"]["expected_revenue"]["value"] == pytest.approx(28 * 5 * 1.1**0.4, rel=0.01)


def test_scenarios(client: TestClient, model: PricingModel) -> None:
    path = "/v1/pricing/simulations"
    response = client.post(
        path, json={"prices": {"tea/north": 4.4, "salt": 1.05}, "competitor_prices": {"tea": 4.0}, "horizon_days": 28}
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    said = model.simulate(Scenario({"tea/north": 4.4, "salt": 1.05}, {"tea": 4.0}, horizon_days=28))
    assert len(answer["periods"]) == len(said) == 12
    for one, other in zip(answer["periods"], said, strict=True):
        assert (one["product"], one["segment"], one["start"]) == (other.product, other.segment, other.start.isoformat())
        assert one["revenue"] == vars(other.revenue)
        assert one["quantity_unchanged"] == other.quantity_unchanged
    assert answer["revenue"] == pytest.approx(sum(one["revenue"]["value"] for one in answer["periods"]))
    assert answer["revenue_unchanged"] == pytest.approx(28 * (20 * 4.0 + 30 * 4.2 + 5 * 1.0), rel=0.01)
    few = client.post(path, json={"prices": {"salt": 1.05}, "products": ["salt"], "horizon_days": 7}).json()
    assert {one["product"] for one in few["periods"]} == {"salt"}
    everything = client.post(path, json={"horizon_days": 7}).json()
    assert {one["product"] for one in everything["periods"]} == {"tea", "salt", "jam"}
    assert everything["revenue"] == pytest.approx(everything["revenue_unchanged"], rel=0.01)


@pytest.mark.parametrize(
    ("body", "field", "status"),
    [
        ({"prices": {"coffee": 2.0}}, "prices.coffee", 404),
        ({"prices": {"tea/west": 2.0}}, "prices.tea/west", 404),
        ({"products": ["coffee"]}, "products", 404),
        ({"prices": {"salt": 0}}, "prices.salt", 422),
        ({"prices": {"salt": 500}}, "prices.salt", 422),
        ({"prices": {"jam": 3.5}}, "prices.jam", 422),
        ({"horizon_days": 0}, "horizon_days", 422),
        ({"horizon_days": 3650}, "horizon_days", 422),
        ({"price": {}}, "price", 422),
    ],
)
def test_a_scenario_that_cannot_be_played_names_the_field(
    client: TestClient, body: dict[str, Any], field: str, status: int
) -> None:
    response = client.post("/v1/pricing/simulations", json=body)
    assert response.status_code == status, response.text
    assert response.json()["field"] == field
    assert response.json()["remedy"]


def test_elasticities_in_pages(client: TestClient, model: PricingModel) -> None:
    path = "/v1/pricing/elasticities"
    page = client.get(path, params={"limit": 4}).json()
    rest = client.get(path, params={"limit": 4, "cursor": page["next_cursor"]}).json()
    found = page["elasticities"] + rest["elasticities"]
    assert [(one["product"], one["segment"], one["of"]) for one in found] == [
        (one.product, one.segment, one.of) for one in model.elasticities
    ]
    assert (page["version"], rest["next_cursor"]) == (1, None)

    def chosen(**parameters: Any) -> list[Any]:
        listed: list[Any] = client.get(path, params=parameters).json()["elasticities"]
        return listed

    assert [one["of"] for one in chosen(product="salt")] == ["own", "competitor"]
    assert [one["product"] for one in chosen(of="competitor")] == ["tea", "salt"]
    assert [one["value"] for one in chosen(segment="south")] == [-2.0]
    (unknown,) = chosen(identified=False)
    assert (unknown["product"], unknown["value"], unknown["reason"]) == ("jam", None, "its price never varied")
    for parameters, status in (
        ({"product": "coffee"}, 404),
        ({"cursor": "v9-4"}, 422),
        ({"cursor": "4"}, 422),
        ({"model": "none"}, 404),
    ):
        assert client.get(path, params=parameters).status_code == status


def test_positions(client: TestClient) -> None:
    found = client.get("/v1/pricing/positions").json()["positions"]
    assert {(one["product"], one["segment"]) for one in found} == {("tea", "north"), ("tea", "south"), ("salt", None)}
    south = next(one for one in found if one["segment"] == "south")
    assert south["ratio"] == pytest.approx(4.2 / 4.4)
    assert south["cross_elasticity"]["value"] == 0.6
    assert [one["product"] for one in client.get("/v1/pricing/positions?product=salt").json()["positions"]] == ["salt"]


@pytest.fixture(scope="module")
def with_keys(
    tmp_path_factory: pytest.TempPathFactory, folders: Any, mlflow_template: Any, make_world: Any, open_client: Any
) -> Iterator[tuple[TestClient, dict[str, dict[str, str]]]]:
    with make_world(tmp_path_factory.mktemp("priced") / "home", folders, mlflow_template) as world:
        world.champion("pricing", "pricing")
        headers = {
            name: {"Authorization": f"Bearer {keys.create(world.settings, name, role)[1]}"}
            for name, role in (("shop", "application"), ("other", "application"), ("ada", "analyst"))
        }
        with open_client(world.settings) as client:
            yield client, headers


def test_an_application_sees_its_own_and_decides_nothing(with_keys: Any) -> None:
    client, headers = with_keys
    made = client.post(PATH, json={"product": "salt"}, headers=headers["shop"]).json()
    place = f"{PATH}/{made['id']}"
    assert client.get(place, headers=headers["shop"]).status_code == 200
    assert client.get(place, headers=headers["other"]).status_code == 404
    assert client.get(PATH, headers=headers["other"]).json()["recommendations"] == []
    for move, body in (
        ("implemented", {"price": 1.1, "date": "2026-03-01"}),
        ("dismissed", {}),
        ("outcome", {"observed": observed(1, 1.0)}),
    ):
        assert client.post(f"{place}/{move}", json=body, headers=headers["shop"]).status_code == 403
    done = client.post(f"{place}/implemented", json={"price": 1.1, "date": "2026-03-01"}, headers=headers["ada"])
    assert done.json()["implemented"]["by"] == "ada"
    assert client.get(place, headers=headers["shop"]).json()["state"] == "implemented"
    figures = {
        name: client.get("/v1/pricing/analytics", headers=headers[name]).json()["total"]["asked"] for name in headers
    }
    assert figures == {"shop": 1, "other": 0, "ada": 1}


def test_analytics_add_up(world: Any, open_client: Callable[..., Any]) -> None:
    world.champion("pricing", "pricing")
    with open_client(world.settings) as client:
        salt = [ask(client, product="salt") for _ in range(3)]
        tea, jam = ask(client, product="tea"), ask(client, product="jam")
        for made, price in ((salt[0], 1.1), (salt[1], 1.05)):
            implement(client, made, price)
        done = client.post(f"{PATH}/{salt[0]['id']}/outcome", json={"observed": observed(28, 5.0)}).json()
        client.post(f"{PATH}/{jam['id']}/dismissed", json={})
        figures = client.get("/v1/pricing/analytics").json()
        assert [one["product"] for one in figures["products"]] == ["jam", "salt", "tea"]
        one = figures["products"][1]
        assert one["counts"] == {"proposed": 1, "cannot_advise": 0, "implemented": 1, "dismissed": 0, "measured": 1}
        assert one["advised_share"] == 1.0
        assert one["open_gain_margin"]["value"] == pytest.approx(salt[2]["gain_margin"]["value"])
        assert one["implemented_gain_revenue"]["count"] == 2
        assert one["implemented_gain_revenue"]["low"] == pytest.approx(2 * salt[0]["gain_revenue"]["low"])
        assert one["realised_revenue"] == pytest.approx(done["measured"]["revenue"])
        assert one["realised_gain_revenue"]["high"] == pytest.approx(done["measured"]["gained_revenue"]["high"])
        assert one["verdicts"] == {done["measured"]["verdict"]: 1}
        total = figures["total"]
        assert (total["asked"], total["advised_share"], total["counts"]["dismissed"]) == (5, 0.8, 1)
        assert total["open_gain_margin"]["value"] == pytest.approx(
            salt[2]["gain_margin"]["value"] + tea["gain_margin"]["value"]
        )
        assert client.get("/v1/pricing/analytics?product=tea").json()["total"]["asked"] == 1
        later = {"since": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
        assert client.get("/v1/pricing/analytics", params=later).json()["products"] == []
