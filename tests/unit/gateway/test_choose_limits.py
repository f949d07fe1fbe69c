"""No model is admitted that a limit forbids, every other one has its reason, and a reservation covers what may come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.choose.catalogue import CAPABILITIES, Model, Price
from gateway.choose.decision import Task
from gateway.choose.exclusion import no_candidate
from gateway.choose.limits import ROOM, ROOM_TOKENS, Roster, admissible, priced
from gateway.choose.live import Unmeasured
from gateway.choose.policy import PriorPolicy
from gateway.prompt import Limits
from gateway.usage import Usage
from store.errors import InvalidValue


def task(needs: frozenset[str] = frozenset(), given_: int = 100, most: int = 400, **more: object) -> Task:
    return Task("moderate", "code", needs, given_, min(100, most), most, 1.0, **more)  # type: ignore[arg-type]


class Broken(Unmeasured):
    """Some models get no traffic."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def unavailable(self, model_id: str) -> str | None:
        return "its circuit is open" if model_id in self.ids else None


PLAIN_PRICES = st.builds(Price, input=st.floats(0, 1e5), output=st.floats(0, 1e5))
PRICES = st.builds(
    Price,
    input=st.floats(0, 1e5),
    output=st.floats(0, 1e5),
    cached=st.none() | st.floats(0, 1e5),
    cache_write=st.none() | st.floats(0, 1e5),
    cache_write_hour=st.none() | st.floats(0, 1e5),
    reasoning=st.none() | st.floats(0, 1e5),
    request=st.floats(0, 1e6),
    tiers=st.just(()) | PLAIN_PRICES.map(lambda price: ((500, price),)),
)
MODELS = st.lists(
    st.builds(
        lambda provider, name, **more: Model(f"{provider}/{name}", provider, name, **more),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([f"m{n}" for n in range(8)]),
        kind=st.sampled_from(["chat", "chat", "chat", "embeddings"]),
        context=st.sampled_from([500, 4_000, 128_000]),
        max_output=st.sampled_from([200, 1_000, 16_000]),
        capabilities=st.frozensets(st.sampled_from(CAPABILITIES)),
        price=PRICES,
        local=st.booleans(),
        region=st.sampled_from(["eu", "us", None]),
        quality=st.builds(lambda q: {"": q}, st.floats(0, 1)),
        latency_ms=st.floats(1, 5_000),
        tokens_per_second=st.floats(1, 500),
    ),
    max_size=8,
    unique_by=lambda model: model.id,
)
LIMITS = st.builds(
    Limits,
    max_cost=st.none() | st.floats(0, 0.1),
    max_latency_ms=st.none() | st.floats(0, 20_000),
    min_quality=st.none() | st.floats(0, 1),
    capabilities=st.frozensets(st.sampled_from(["json", "vision"]), max_size=1),
    regions=st.frozensets(st.sampled_from(["eu", "us"]), max_size=1),
    providers=st.frozensets(st.sampled_from(["a", "b"]), max_size=2),
    exclude=st.frozensets(st.sampled_from(["a", "b/m1", "m2"]), max_size=2),
    local_only=st.booleans(),
)
TASKS = st.builds(
    lambda needs, given_, most, choices, **more: task(needs, given_, most * choices, choices=choices, **more),
    st.frozensets(st.sampled_from(["tools", "json", "json_schema", "vision"]), max_size=2),
    st.integers(1, 5_000),
    st.sampled_from([1, 150, 400, 4_096]),
    st.sampled_from([1, 1, 3]),
    bounded=st.booleans(),
    hour_cache=st.booleans(),
)


@given(MODELS, LIMITS, TASKS, st.booleans(), st.none() | st.just(frozenset({"a", "b/m3"})))
def test_nobody_is_admitted_whom_a_limit_forbids(
    models: list[Model], limits: Limits, asked: Task, stream: bool, allowed: frozenset[str] | None
) -> None:
    live = Broken("a/m0", "b/m1")
    left, excluded = admissible(models, asked, limits, live, stream=stream, allowed=allowed)
    assert {model.id for model in left} | excluded.keys() == {model.id for model in models if model.kind == "chat"}
    assert not {model.id for model in left} & excluded.keys()
    estimates = PriorPolicy().estimate("", asked, models)
    for place, model in enumerate(models):
        if model.kind != "chat":
            continue
        # Said once more, plainly.
        able = set(model.capabilities) | ({"json"} if "json_schema" in model.capabilities else set())
        each = asked.most_output_tokens // asked.choices
        longest = each if asked.bounded else min(each, model.max_output)
        dearest = reservation(model, asked)
        forbidden = (
            not asked.needs | limits.capabilities <= able
            or (stream and "stream" not in able)
            or (limits.local_only and not model.local)
            or (limits.regions and model.region not in limits.regions)
            or (limits.providers and model.provider not in limits.providers)
            or {model.id, model.name, model.provider} & limits.exclude
            or (allowed is not None and not {model.id, model.provider} & allowed)
            or int(asked.input_tokens * ROOM) + ROOM_TOKENS + longest > model.context
            or (asked.bounded and each > model.max_output)
            or live.unavailable(model.id)
            or (limits.max_cost is not None and dearest > limits.max_cost * 1e9)
            or (limits.min_quality is not None and estimates.quality[place] < limits.min_quality)
            or (limits.max_latency_ms is not None and estimates.latency_ms[place] > limits.max_latency_ms)
        )
        assert (model in left) != bool(forbidden), excluded.get(model.id)


def reservation(model: Model, asked: Task) -> float:
    group = Roster([model]).group("chat", frozenset(), Limits())
    return priced(group, asked, [float(asked.output_tokens)])[1][0]


@given(PRICES, TASKS, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_reservation_covers_every_call_within_its_bounds(
    price: Price, asked: Task, cached: float, written: float, length: float, thought: float
) -> None:
    model = Model("a/m", "a", "m", price=price, context=10**9, max_output=10**9)
    output = int(length * asked.most_output_tokens)
    fresh = asked.input_tokens - int(cached * asked.input_tokens)
    used = Usage(
        input=asked.input_tokens,
        cached=asked.input_tokens - fresh,
        cache_write=int(written * fresh),
        cache_write_hour=int(written * fresh) if asked.hour_cache else 0,
        output=output,
        reasoning=int(thought * output),
    )
    assert price.cost(used) <= reservation(model, asked) + 1


def test_the_expected_cost_is_never_above_the_reservation() -> None:
    group = Roster([Model("a/m", "a", "m", price=Price(3, 9))]).group("chat", frozenset(), Limits())
    for tokens in (1.0, 400.0, 9_000.0):
        cost, reserve = priced(group, task(), [tokens])
        assert cost[0] <= reserve[0] == 100 * 3 + 400 * 9


def test_sound_is_dear_only_where_it_is_needed() -> None:
    model = Model(
        "a/m", "a", "m", capabilities=frozenset(CAPABILITIES), price=Price(1, 1, audio_input=50, audio_output=90)
    )
    plain, sound = (Roster([model]).group("chat", frozenset(needs), Limits()) for needs in ((), ("audio",)))
    assert priced(plain, task(), [1.0])[1] == [500.0]
    assert priced(sound, task(), [1.0])[1] == [100 * 50 + 400 * 90]


def test_a_long_prompt_is_priced_by_its_tier() -> None:
    model = Model("a/m", "a", "m", price=Price(1, 1, tiers=((1_000, Price(2, 2)),)))
    group = Roster([model]).group("chat", frozenset(), Limits())
    assert [priced(group, task(given_=n), [400.0])[1][0] for n in (1_000, 1_001)] == [1_400.0, 2_802.0]


def test_groups_are_kept_but_not_without_bound() -> None:
    roster = Roster([Model("a/m", "a", "m")])
    first = roster.group("chat", frozenset(), Limits())
    assert roster.group("chat", frozenset(), Limits()) is first
    for number in range(1_000):
        roster.group("chat", frozenset(), Limits(exclude=frozenset({f"x{number}"})))
    assert len(roster._groups) <= 256


def test_a_capability_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidValue, match="telepathy"):
        admissible([], task(), Limits(capabilities=frozenset({"telepathy"})))


def test_the_error_names_the_limit_for_each_model_and_sums_up() -> None:
    models = [Model(f"a/m{n}", "a", f"m{n}", price=Price(10, 10)) for n in range(9)]
    models += [
        Model(f"b/m{n}", "b", f"m{n}", price=Price(9e6, 9e6), capabilities=frozenset({"vision"})) for n in range(2)
    ]
    _, excluded = admissible(models, task(frozenset({"vision"})), Limits(max_cost=0.01))
    error = no_candidate("auto", "chat", excluded)
    assert "9 × lacks vision" in error.message
    assert "2 × too dear" in error.message
    assert error.details["excluded"].keys() == {model.id for model in models}
    assert error.details["limits"] == {"lacks vision": 9, "too dear": 2}
    assert "max_cost" in error.remedy
    few = no_candidate("auto", "chat", dict(list(excluded.items())[:2]))
    assert "a/m0 (lacks vision)" in few.message


def test_the_error_tells_what_only_needs_time() -> None:
    models = [Model("a/m", "a", "m"), Model("b/m", "b", "m", local=True)]
    _, excluded = admissible(models, task(), Limits(local_only=True), Broken("b/m"))
    error = no_candidate("private", "chat", excluded)
    assert error.details["unavailable"] is True
    assert "Try again" in error.remedy
    assert no_candidate("auto", "embeddings", {}).message == "No model for embeddings is configured."


EDGE = Model("a/m", "a", "m", context=1_000, max_output=500, price=Price(10, 20), quality={"": 0.7}, latency_ms=100,
             tokens_per_second=10)  # fmt: skip


@pytest.mark.parametrize(
    ("inside", "outside", "told"),
    [
        ((task(given_=557), Limits()), (task(given_=558), Limits()), "context too small: 1000 tokens, 1001 needed"),
        (
            (task(most=500, bounded=True), Limits()),
            (task(most=501, bounded=True), Limits()),
            "answers too short: at most 500 tokens, 501 asked for",
        ),
        (
            (task(), Limits(max_cost=9_000e-9)),
            (task(), Limits(max_cost=8_999e-9)),
            "too dear: up to $0.000009, max_cost is $0.000008999",
        ),
        (
            (task(), Limits(min_quality=0.69)),
            (task(), Limits(min_quality=0.71)),
            "not good enough: 0.70 expected, min_quality is 0.71",
        ),
        (
            (task(), Limits(max_latency_ms=10_100)),
            (task(), Limits(max_latency_ms=10_099)),
            "too slow: 10100 ms expected, max_latency_ms is 10099",
        ),
    ],
)
def test_each_limit_holds_to_its_edge(inside: tuple[Task, Limits], outside: tuple[Task, Limits], told: str) -> None:
    assert admissible([EDGE], *inside) == ([EDGE], {})
    assert admissible([EDGE], *outside) == ([], {"a/m": told})


@pytest.mark.parametrize(
    ("price", "dearest"),
    [
        (Price(10, 20, cache_write=12.5), 12.5),
        (Price(10, 20, cached=1.0), 10.0),
        (Price(10, 20, cache_write=12.5, cache_write_hour=20.0), 12.5),
    ],
)
def test_input_is_reserved_at_the_dearest_that_it_may_be(price: Price, dearest: float) -> None:
    model = Model("a/m", "a", "m", price=price)
    assert reservation(model, task()) == 100 * dearest + 400 * 20
    hour = price.cache_write_hour or dearest
    assert reservation(model, task(hour_cache=True)) == 100 * hour + 400 * 20


def test_thinking_is_reserved_at_its_own_price() -> None:
    assert reservation(Model("a/m", "a", "m", price=Price(0, 20, reasoning=30)), task()) == 400 * 30
