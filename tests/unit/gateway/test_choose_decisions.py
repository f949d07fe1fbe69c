"""What is chosen, by each strategy and under each circumstance, and what is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.choose.catalogue import Model, Price
from gateway.choose.chooser import DEARER, EXPLORE, Chooser
from gateway.choose.decision import Decision, Task
from gateway.choose.ensemble import Ensemble
from gateway.choose.live import Unmeasured
from gateway.choose.policy import Estimates, PriorPolicy, on_task
from gateway.choose.preferences import Preferences
from gateway.choose.strategies import FLOOR
from gateway.choose.task import analyse
from gateway.choose.virtual import DESCRIPTIONS
from gateway.prompt import Limits, Options, Prompt, Tenant
from store.errors import InvalidValue, NoCandidate, UnknownLlm

ALL = frozenset({"chat", "stream", "tools", "json", "json_schema", "vision"})


def model(id_: str, quality: float, dollars: float, **more: Any) -> Model:
    """`dollars` per million tokens of output, a quarter of it per million of input."""
    provider, _, name = id_.partition("/")
    given_ = {"capabilities": ALL, "tokens_per_second": 100.0, "latency_ms": 400.0, **more}
    return Model(id_, provider, name, quality={"": quality}, price=Price(dollars * 250, dollars * 1000), **given_)


SMALL = model("a/small", 0.62, 0.4, tokens_per_second=250.0, latency_ms=150.0)
MIDDLE = model("b/middle", 0.78, 3.0)
LARGE = model("c/large", 0.92, 30.0, tokens_per_second=50.0, latency_ms=900.0)
LOCAL = model("local/tiny", 0.45, 0.0, local=True, region="eu", tokens_per_second=30.0)
CATALOGUE = [SMALL, MIDDLE, LARGE, LOCAL]
VECTORS = [
    Model("a/embed", "a", "embed", kind="embeddings", price=Price(20, 0), context=8_000, quality={"": 0.8}),
    Model("b/embed", "b", "embed-b", kind="embeddings", price=Price(100, 0), context=8_000, quality={"": 0.9}),
]


class World(Unmeasured):
    """Live numbers that a test sets."""

    def __init__(self) -> None:
        self.closed: dict[str, str] = {}
        self.ms: dict[str, float] = {}
        self.speed: dict[str, float] = {}
        self.success: dict[str, float] = {}
        self.shares: dict[str, float] = {}
        self.waiting: dict[str, int] = {}

    def latency_ms(self, model_id: str) -> float | None:
        return self.ms.get(model_id)

    def tokens_per_second(self, model_id: str) -> float | None:
        return self.speed.get(model_id)

    def success_rate(self, model_id: str) -> float | None:
        return self.success.get(model_id)

    def in_flight(self, model_id: str) -> int:
        return self.waiting.get(model_id, 0)

    def unavailable(self, model_id: str) -> str | None:
        return self.closed.get(model_id)

    def share(self, model_id: str) -> float:
        return self.shares.get(model_id, 1.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def chooser(models: Sequence[Model] = CATALOGUE, world: World | None = None, **more: Any) -> Chooser:
    return Chooser(models, more.pop("policy", PriorPolicy()), world or World(), **{"explore": 0.0, **more})


def prompt(name: str, text: str = "Hi", number: int = 0, **more: Any) -> Prompt:
    body = more.pop("body", {"messages": [{"role": "user", "content": text}]})
    return Prompt(f"{number:032x}", Tenant(user="kim"), more.pop("kind", "chat"), name, body, **more)


def task(complexity: str = "moderate", domain: str = "code", **more: Any) -> Task:
    return replace(Task(complexity, domain, frozenset(), 200, 300, 1_200, 1.0), **more)


def decide(name: str, of: Chooser | None = None, what: Task | None = None, **more: Any) -> Decision:
    keys = ("allowed", "stay", "dry", "most")
    return (of or chooser()).decide(
        prompt(name, **{key: one for key, one in more.items() if key not in keys}),
        what or task(),
        **{key: one for key, one in more.items() if key in keys},
    )


def chosen(*args: Any, **more: Any) -> str:
    return decide(*args, **more).chosen.model.id


def test_each_strategy_chooses_by_its_own_measure() -> None:
    assert chosen("best") == LARGE.id
    assert chosen("fastest") == SMALL.id
    assert chosen("private") == LOCAL.id
    assert chosen("cheapest", what=task("simple")) == LOCAL.id
    assert chosen("cheapest", what=task("expert")) == LARGE.id
    assert chosen("b/middle") == MIDDLE.id


def test_auto_pays_for_quality_only_where_the_task_needs_it() -> None:
    simple, expert = decide("auto", what=task("simple")), decide("auto", what=task("expert"))
    assert simple.chosen.model is SMALL
    assert expert.chosen.model is LARGE
    assert simple.chosen.cost < expert.chosen.cost
    costs = [decide("auto", what=task(one)).chosen.cost for one in ("simple", "moderate", "complex", "expert")]
    assert costs == sorted(costs)


def test_quality_that_a_task_does_not_need_is_not_paid_for() -> None:
    good, brilliant = model("a/good", 0.80, 1.0), model("b/brilliant", 0.99, 2.0)
    assert chosen("auto", chooser([good, brilliant]), task("simple")) == good.id
    assert chosen("auto", chooser([good, brilliant]), task("expert")) == brilliant.id


def test_cheapest_takes_nothing_that_is_not_good_enough_while_something_is() -> None:
    decision = decide("cheapest", what=task("complex"))
    assert decision.chosen.model is MIDDLE
    assert decision.chosen.quality >= FLOOR["complex"] > decision.ranked[-1].quality
    assert [one.model for one in decision.ranked] == [MIDDLE, LARGE, LOCAL, SMALL]
    assert chosen("cheapest", chooser([LOCAL, SMALL]), task("expert")) == SMALL.id
    assert chosen("cheapest", limits=Limits(min_quality=0.3), what=task("moderate")) == LOCAL.id


@pytest.mark.parametrize("name", [*DESCRIPTIONS, "ensemble/majority", "c/large"])
def test_every_decision_tells_all_of_it(name: str) -> None:
    decision = decide(name, text="Write a function")
    told = decision.explain()
    assert told["asked"] == name
    assert told["model"] == decision.chosen.model.id
    assert told["policy"] == "priors"
    assert decision.chosen.model.id in decision.reason
    assert decision.reason.endswith(".")
    assert 0.0 < decision.propensity <= 1.0
    assert 0.0 <= decision.confidence <= 1.0
    for one in decision.ranked:
        assert 0 <= one.cost <= one.reserve
    assert decision.ranked[0].model.id not in [one.model.id for one in decision.fallbacks] or name.startswith(
        "ensemble"
    )


def test_the_lead_of_the_best_is_what_confidence_tells() -> None:
    near = chooser([model("a/x", 0.80, 1.0), model("b/y", 0.801, 1.0)])
    far = chooser([model("a/x", 0.80, 1.0), model("b/y", 0.2, 1.0)])
    assert decide("best", near).confidence == pytest.approx(0.5, abs=0.02)
    assert decide("best", far).confidence > 0.99
    assert decide("best", far, task(confidence=0.0)).confidence < 0.51
    assert decide("best", chooser([SMALL])).confidence == 1.0


def test_the_first_fallback_is_of_another_provider_where_it_is_about_as_good() -> None:
    models = [model("a/x", 0.90, 1.0), model("a/y", 0.89, 1.0), model("b/z", 0.87, 1.0), model("c/w", 0.5, 1.0)]
    assert [one.model.id for one in decide("best", chooser(models)).ranked] == ["a/x", "b/z", "a/y", "c/w"]
    models[2] = model("b/z", 0.60, 1.0)
    assert [one.model.id for one in decide("best", chooser(models)).ranked] == ["a/x", "a/y", "b/z", "c/w"]


def test_the_cheapest_is_told_of_however_far_behind_it_is() -> None:
    models = [model(f"p{n}/m", 0.95 - n / 100, 5.0) for n in range(20)] + [model("q/cheap", 0.1, 0.1)]
    ranked = decide("best", chooser(models)).ranked
    assert len(ranked) < 10
    assert ranked[-1].model.id == "q/cheap"
    assert len(decide("best", chooser(models), most=50).ranked) == 21


def test_one_model_is_asked_for_and_no_other_answers() -> None:
    decision = decide("openai", chooser([model("openai/x", 0.5, 1.0), SMALL], aliases={"openai": "x"}))
    assert [one.model.id for one in decision.ranked] == ["openai/x"]
    assert (decision.strategy, decision.propensity, decision.confidence) == ("explicit", 1.0, 1.0)


def test_others_stand_in_for_a_named_model_only_where_the_caller_says_so() -> None:
    world = World()
    world.closed["c/large"] = "its circuit is open"
    with pytest.raises(NoCandidate, match="its circuit is open") as caught:
        decide("c/large", chooser(world=world))
    assert caught.value.details["unavailable"] is True
    with_others = Options(fallbacks=True)
    ranked = decide("c/large", options=with_others).ranked
    assert ranked[0].model is LARGE
    assert len(ranked) == len(CATALOGUE)
    standing_in = decide("c/large", chooser(world=world), options=with_others)
    assert LARGE.id not in {one.model.id for one in standing_in.ranked}
    assert "its circuit is open" in standing_in.reason


def test_nobody_stands_in_for_a_named_model_that_cannot_do_it() -> None:
    models = [model("a/blind", 0.9, 1.0, capabilities=frozenset({"chat"})), SMALL]
    for options in (Options(), Options(fallbacks=True)):
        with pytest.raises(NoCandidate, match="lacks vision"):
            decide("a/blind", chooser(models), task(needs=frozenset({"vision"})), options=options)


def test_a_model_that_cannot_do_it_is_never_chosen_and_the_error_says_why() -> None:
    seeing = model("d/seeing", 0.1, 90.0)
    blind = [replace(one, capabilities=frozenset({"chat", "stream"})) for one in CATALOGUE]
    for name in DESCRIPTIONS:
        if name != "private":
            assert chosen(name, chooser([*blind, seeing]), task(needs=frozenset({"vision"}))) == seeing.id
    with pytest.raises(NoCandidate) as caught:
        decide("auto", chooser(blind), task(needs=frozenset({"vision", "tools"})))
    assert caught.value.details["excluded"] == {one.id: "lacks tools and vision" for one in blind}


def test_a_stream_needs_a_model_that_streams() -> None:
    whole = model("d/whole", 0.99, 0.01, capabilities=frozenset({"chat"}))
    assert chosen("best", chooser([whole, SMALL])) == whole.id
    assert chosen("best", chooser([whole, SMALL]), stream=True) == SMALL.id


def test_a_workspace_uses_what_it_is_allowed() -> None:
    assert chosen("best", allowed=frozenset({"a", "b/middle"})) == MIDDLE.id
    with pytest.raises(NoCandidate, match="not allowed"):
        decide("c/large", allowed=frozenset({"a"}))


@given(
    st.sampled_from([*DESCRIPTIONS, "ensemble/majority", "auto:math", "local/tiny"]),
    st.lists(st.sampled_from(["a/small", "b/middle", "c/large", "local/tiny", "local/other"]), max_size=5),
    st.booleans(),
    st.integers(0, 2**64),
)
def test_a_private_prompt_never_leaves_the_own_machines(
    name: str, closed: list[str], fallbacks: bool, number: int
) -> None:
    world = World()
    world.closed = dict.fromkeys(closed, "drained")
    models = [*CATALOGUE, model("local/other", 0.5, 0.0, local=True)]
    of = chooser(models, world, explore=0.5)
    limits = Limits(local_only=name != "private")
    if LOCAL.id in closed and ("local/other" in closed or (name == LOCAL.id and not fallbacks)):
        with pytest.raises(NoCandidate):
            decide(name, of, limits=limits, options=Options(fallbacks=fallbacks), number=number)
        return
    decision = decide(name, of, limits=limits, options=Options(fallbacks=fallbacks), number=number)
    assert all(one.model.local for one in decision.ranked)
    assert not decision.explored


def test_what_is_measured_overrules_what_was_believed() -> None:
    world, clock = World(), Clock()
    of = chooser(world=world, clock=clock)
    assert chosen("fastest", of) == SMALL.id
    world.ms[SMALL.id], world.speed[SMALL.id] = 9_000.0, 2.0
    clock.now += 1.0
    decision = decide("fastest", of)
    assert decision.chosen.model is not SMALL
    slow = next(one for one in decision.ranked if one.model is SMALL)
    assert slow.latency_ms == pytest.approx(9_000 + 300 / 2 * 1000)


def test_a_model_that_fails_loses_its_place() -> None:
    world = World()
    models = [model("a/x", 0.85, 1.0), model("b/y", 0.80, 1.0)]
    assert chosen("auto", chooser(models, world)) == "a/x"
    world.success["a/x"] = 0.7
    for name in ("auto", "best", "capability"):
        assert chosen(name, chooser(models, world)) == "b/y"


def test_a_closed_circuit_counts_at_once() -> None:
    world = World()
    of = chooser(world=world, clock=Clock())
    assert chosen("best", of) == LARGE.id
    world.closed[LARGE.id] = "drained"
    decision = decide("best", of)
    assert decision.chosen.model is MIDDLE
    assert decision.excluded == {LARGE.id: "unavailable: drained"}


def test_a_lowered_share_is_kept_and_its_propensity_true() -> None:
    world = World()
    world.shares[LARGE.id] = 0.25
    of = chooser(world=world)
    counts: Counter[str] = Counter()
    stated: dict[str, float] = {}
    for number in range(4_000):
        decision = decide("best", of, number=number)
        counts[decision.chosen.model.id] += 1
        stated[decision.chosen.model.id] = decision.propensity
    assert stated == {LARGE.id: 0.25, MIDDLE.id: 0.75}
    assert counts[LARGE.id] / 4_000 == pytest.approx(0.25, abs=0.035)


def test_equals_are_chosen_by_the_prompts_own_chance() -> None:
    of = chooser([model(f"p{n}/m", 0.8, 1.0) for n in range(4)])
    decisions = [decide("best", of, number=number) for number in range(400)]
    assert {one.propensity for one in decisions} == {0.25}
    assert min(Counter(one.chosen.model.id for one in decisions).values()) > 60
    assert decide("best", of, number=7).chosen.model is decide("best", of, number=7).chosen.model


def test_exploration_has_its_rate_tries_what_is_rare_and_states_its_propensity() -> None:
    clock = Clock()
    models = [SMALL, replace(SMALL, id="b/twin", provider="b", quality={"": 0.55}), LARGE]
    of = chooser(models, clock=clock, explore=0.2)
    decisions = []
    for number in range(3_000):
        clock.now += 1.0
        decisions.append(decide("auto", of, task("simple"), number=number))
    explored = [one for one in decisions if one.explored]
    # What is hundreds of times dearer is not tried; what is chosen anyway is hardly tried.
    assert {one.chosen.model.id for one in explored} == {"b/twin"}
    assert 0.15 < len(explored) / 3_000 < 0.2
    assert all(0.15 < one.propensity < 0.2 for one in explored[5:])
    assert all("learn" in one.reason for one in explored)
    # Inverse propensities of what was tried add up to all calls, which is what they are for.
    assert sum(1 / one.propensity for one in explored) == pytest.approx(3_000, rel=0.1)


@pytest.mark.parametrize(
    "more",
    [
        {"options": Options(explore=False)},
        {"limits": Limits(local_only=True)},
        {"body": {"messages": [{"role": "user", "content": "Hi"}, {"role": "tool", "content": "4"}]}},
    ],
)
def test_who_opts_out_and_what_must_not_move_is_not_explored_with(more: dict[str, Any]) -> None:
    of = chooser([*CATALOGUE, model("local/other", 0.4, 0.0, local=True)], explore=1.0)
    assert any(decide("auto", of, number=number).explored for number in range(50))
    assert not any(decide("auto", of, number=number, **more).explored for number in range(50))
    for name in ("best", "cheapest", "fastest", "private", "preferred", "capability", "round-robin", "a/small"):
        assert not any(decide(name, of, number=number).explored for number in range(50))


def test_exploration_adds_little_to_the_bill() -> None:
    dear = [model(f"p{n}/m", 0.7, 3.0 * (n + 1)) for n in range(10)]
    of = chooser(dear, explore=EXPLORE)
    decisions = [decide("auto", of, number=number) for number in range(2_000)]
    cheapest = min(one.chosen.cost for one in decisions)
    assert sum(one.chosen.cost for one in decisions) <= 2_000 * cheapest * (1 + 2 * EXPLORE * (DEARER - 1))


def test_turns_go_round_and_busy_models_get_fewer() -> None:
    world = World()
    of = chooser(world=world)
    made = [decide("round-robin", of, number=number) for number in range(8)]
    assert Counter(one.chosen.model.id for one in made) == {one.id: 2 for one in CATALOGUE}
    assert {one.propensity for one in made} == {0.25}
    world.waiting[SMALL.id] = 9
    counts = Counter(chosen("round-robin", of, number=number) for number in range(310))
    assert counts[SMALL.id] == 10
    world.closed[LARGE.id] = "drained"
    assert LARGE.id not in {chosen("round-robin", of, number=number) for number in range(20)}


def test_looking_changes_nothing() -> None:
    of = chooser()
    looked = [chosen("round-robin", of, dry=True) for _ in range(3)]
    assert len(set(looked)) == 1
    assert chosen("round-robin", of) == looked[0]


def test_a_conversation_stays_where_its_tools_are_at_work() -> None:
    decision = decide("best", stay=SMALL.id)
    assert decision.chosen.model is SMALL
    assert decision.propensity == 1.0
    assert decision.fallbacks[0].model is LARGE
    world = World()
    world.closed[SMALL.id] = "drained"
    assert chosen("best", chooser(world=world), stay=SMALL.id) == LARGE.id
    assert chosen("round-robin", stay=MIDDLE.id) == MIDDLE.id
    assert chosen("best", stay="gone/away") == LARGE.id


def test_what_a_user_likes_moves_preferred_and_nothing_else() -> None:
    liked = {"kim": Preferences({LARGE.id: 1.0, SMALL.id: 0.0})}
    of = chooser(preferences=lambda tenant: liked.get(tenant.user or ""))
    assert chosen("auto", of, task("simple")) == SMALL.id
    assert chosen("preferred", of, task("simple")) == LARGE.id
    liked.clear()
    assert chosen("preferred", of, task("simple")) == SMALL.id


def test_a_user_may_trade_quality_for_price() -> None:
    traded = Preferences()
    of = chooser(preferences=lambda _: traded)
    costs = []
    for tradeoff in (0.0, 0.5, 1.0):
        traded.trade(tradeoff)
        costs.append(decide("preferred", of, task("complex")).chosen.cost)
    assert costs == sorted(costs, reverse=True)
    assert (costs[0], costs[-1]) == (decide("best", of).chosen.cost, 0)


def test_capability_finds_who_is_made_for_it() -> None:
    coder = model("d/coder", 0.74, 3.0, capabilities=ALL | {"code"})
    assert chosen("capability", chooser([MIDDLE, coder])) == coder.id
    assert chosen("capability", chooser([MIDDLE, coder]), task(domain="writing")) == MIDDLE.id
    special = replace(model("e/poet", 0.5, 3.0), quality={"": 0.5, "writing": 0.8})
    assert chosen("capability", chooser([MIDDLE, special]), task(domain="writing")) == special.id


def test_the_domain_in_the_name_counts() -> None:
    poet = replace(model("e/poet", 0.5, 3.0), quality={"": 0.3, "writing": 0.95})
    of = chooser([MIDDLE, poet])
    assert chosen("best", of) == MIDDLE.id
    decision = decide("best:writing", of)
    assert decision.chosen.model is poet
    assert decision.task.domain == "writing"


class Fixed(PriorPolicy):
    name = "routing-7"

    def __init__(self, quality: Sequence[float]) -> None:
        super().__init__()
        self.quality = quality
        self.seen: list[str] = []

    def estimate(self, text: str, task: Task, models: Sequence[Model]) -> Estimates:
        self.seen.append(text)
        return replace(super().estimate(text, task, models), quality=self.quality)


def test_another_policy_takes_over_from_the_next_decision_on() -> None:
    of = chooser()
    assert chosen("best", of) == LARGE.id
    policy = Fixed([0.1, 0.9, 0.2, 0.3])
    of.replace_policy(policy)
    decision = decide("best", of, text="Write a sonnet")
    assert (decision.chosen.model.id, decision.policy) == (MIDDLE.id, "routing-7")
    assert policy.seen == ["Write a sonnet"]


@pytest.mark.parametrize("quality", [[float("nan")] * 4, [0.5], [float("inf")] * 4, ["a"] * 4])
def test_a_policy_that_fails_stops_no_prompt(quality: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    decision = decide("best", chooser(policy=Fixed(quality)))
    assert (decision.chosen.model, decision.policy) == (LARGE, "priors")
    assert "routing-7" in caplog.text


def test_a_harder_task_moves_weak_models_further() -> None:
    for quality in (0.05, 0.4, 0.6, 0.9):
        levels = [on_task(quality, one) for one in ("simple", "moderate", "complex", "expert")]
        assert levels == sorted(levels, reverse=True)
        assert on_task(quality, "moderate") == pytest.approx(quality)
    assert on_task(0.9, "simple") - on_task(0.9, "expert") < on_task(0.6, "simple") - on_task(0.6, "expert")
    assert 0.0 < on_task(0.0, "expert") < on_task(1.0, "simple") < 1.0


def test_members_are_the_best_of_several_providers() -> None:
    models = [model("a/x", 0.90, 1.0), model("a/y", 0.89, 1.0), model("b/z", 0.86, 1.0), model("c/w", 0.1, 1.0)]
    decision = decide("ensemble/majority", chooser(models, ensembles={"two": Ensemble("majority", size=2)}))
    assert {one.model.id for one in decision.ranked} == {"a/x", "b/z", "a/y"}
    of = chooser(models, ensembles={"two": Ensemble("majority", size=2)})
    assert [one.model.id for one in decide("ensemble/two", of).ranked] == ["a/x", "b/z"]
    assert (decision.strategy, decision.propensity) == ("ensemble", 1.0)


def test_members_that_are_named_are_asked_as_often_as_they_are_named() -> None:
    options = Options(members=("small", "a/small", "middle"))
    decision = decide("ensemble/best-of-n", options=options)
    assert Counter(one.model.id for one in decision.ranked) == {SMALL.id: 2, MIDDLE.id: 1}
    world = World()
    world.closed[SMALL.id] = "drained"
    decision = decide("ensemble/majority", chooser(world=world), options=options)
    assert [one.model.id for one in decision.ranked] == [MIDDLE.id]
    assert decision.excluded[SMALL.id] == "unavailable: drained"
    with pytest.raises(NoCandidate, match="drained"):
        decide("ensemble/consensus", chooser(world=world), options=options)


def test_one_model_alone_is_sampled_but_is_no_consensus() -> None:
    assert [one.model.id for one in decide("ensemble/best-of-n", chooser([SMALL])).ranked] == [SMALL.id] * 3
    with pytest.raises(NoCandidate):
        decide("ensemble/consensus", chooser([SMALL]))


def test_members_keep_within_the_limit_together() -> None:
    alone = decide("c/large").chosen.reserve / 1e9
    options = Options(members=("large", "middle", "small"))
    decision = decide("ensemble/majority", options=options, limits=Limits(max_cost=alone * 1.05))
    assert sum(one.reserve for one in decision.ranked) <= alone * 1.05e9
    assert "together" in "".join(decision.excluded.values())


@pytest.mark.parametrize(
    "options",
    [
        Options(members=("auto", "small")),
        Options(members=("nobody", "small")),
        Options(members=("small", "middle"), weights={"large": 2.0}),
        Options(members=("small", "middle"), weights={"small": -1.0}),
        Options(members=("small",)),
        Options(judge="fastest"),
    ],
)
def test_members_that_are_none_are_refused(options: Options) -> None:
    with pytest.raises(InvalidValue):
        decide("ensemble/weighted", options=options)


def test_a_request_describes_its_ensemble() -> None:
    options = Options(members=("small", "b/middle"), weights={"small": 2.0}, judge="large")
    ensemble = chooser().ensemble_of(prompt("ensemble/weighted", options=options))
    assert ensemble == Ensemble("weighted", (SMALL.id, MIDDLE.id), {SMALL.id: 2.0}, judge=LARGE.id)
    assert chooser().ensemble_of(prompt("auto", options=options)) is None


def embed(name: str, of: Chooser, tokens: int = 10, **more: Any) -> Decision:
    what = analyse({}, "embeddings", tokens)
    return of.decide(prompt(name, kind="embeddings", body={"input": "x"}, **more), what)


def test_the_model_that_embeds_depends_on_nothing_that_changes() -> None:
    world = World()
    of = chooser([*CATALOGUE, *VECTORS], world, explore=1.0)
    for name in ("auto", "cheapest", "best", "fastest", "round-robin", "preferred"):
        world.closed, world.success, world.shares, world.ms = {}, {}, {}, {}
        first = embed(name, of).chosen.model.id
        world.success, world.shares = dict.fromkeys(["a/embed", "b/embed"], 0.1), {first: 0.0}
        world.ms = {first: 60_000.0}
        made = [embed(name, of, tokens, number=tokens) for tokens in (1, 500, 300_000)]
        assert [[one.model.id for one in decision.ranked] for decision in made] == [[first]] * 3
        world.closed = {first: "its circuit is open"}
        with pytest.raises(NoCandidate, match=first):
            embed(name, of)
        assert embed(name, of, options=Options(fallbacks=True)).chosen.model.id != first


def test_embeddings_have_models_of_their_own() -> None:
    of = chooser([*CATALOGUE, *VECTORS])
    assert embed("b/embed", of).chosen.model.id == "b/embed"
    with pytest.raises(NoCandidate, match="for chat, not for embeddings"):
        embed("a/small", of)
    with pytest.raises(NoCandidate, match="for embeddings, not for chat"):
        decide("a/embed", of)
    with pytest.raises(NoCandidate, match="No model for embeddings"):
        embed("auto", chooser())
    with pytest.raises(NoCandidate):
        embed("private", of)
    with pytest.raises(InvalidValue, match="vote"):
        embed("ensemble/majority", of)


def test_an_unknown_name_is_told_as_such() -> None:
    with pytest.raises(UnknownLlm, match="c/large"):
        decide("c/larg")


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100), st.floats(0, 5_000), st.booleans()), min_size=1, max_size=8),
    st.sampled_from([*DESCRIPTIONS, "ensemble/confidence"]),
    st.sampled_from(["simple", "moderate", "complex", "expert"]),
    st.integers(0, 2**100),
)
def test_some_model_is_chosen_whatever_there_is(
    found: list[tuple[float, float, float, bool]], name: str, complexity: str, number: int
) -> None:
    models = [
        model(f"p{n % 3}/m{n}", quality, dollars, latency_ms=ms, local=local or n == 0)
        for n, (quality, dollars, ms, local) in enumerate(found)
    ]
    decision = decide(name, chooser(models, explore=0.3), task(complexity), number=number)
    assert decision.chosen.model in models
    assert 0.0 < decision.propensity <= 1.0 + 1e-9
    if not name.startswith("ensemble"):
        ids = [one.model.id for one in decision.ranked]
        assert len(ids) == len(set(ids))
    assert not set(decision.excluded) & {one.model.id for one in decision.ranked}
