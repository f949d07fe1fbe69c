"""Each kind of unusual thing is found, with its cause, and usual weeks are left alone."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spend.budgets import Spending, outlook_of
from models.spend.unusual.finding import Finding, score_of, severity_of_money
from models.spend.unusual.look import Frames, findings_of
from models.spend.unusual.pace import pace_findings
from models.spend.unusual.plots import findings_plot
from models.spend.unusual.split import causes, split, split_of
from store.budgets import Budget
from tests.unit.spend.ledger_frames import PRICES, START, by_day, hourly, no_failures

DAYS = 49
AS_OF = (START + pd.Timedelta(days=DAYS)).to_pydatetime()
CALM = hourly(DAYS)


def found_in(hours: pd.DataFrame, failed: pd.DataFrame | None = None, days: int = 7) -> list[Finding]:
    frames = Frames(hours, by_day(hours), no_failures() if failed is None else failed)
    return findings_of(frames, AS_OF, days=days)


def within(hours: pd.DataFrame, first: int, last: int) -> pd.Series:
    """Rows of days `first` to `last`, both counted from the start."""
    day = (hours["hour"] - START) // pd.Timedelta(days=1)
    return (day >= first) & (day <= last)


def priced(hours: pd.DataFrame, factor: dict[str, float]) -> pd.Series:
    """What the tokens cost where prices are multiplied."""
    price = hours["model"].map({model: np.array(both) * factor.get(model, 1.0) for model, both in PRICES.items()})
    each = np.stack(price.to_numpy())
    return hours["input_tokens"] * each[:, 0] + hours["output_tokens"] * each[:, 1]


@pytest.mark.parametrize("seed", range(4))
def test_usual_weeks_are_left_alone(seed: int) -> None:
    assert [one.words for one in found_in(hourly(DAYS, seed=seed), days=21)] == []


def test_a_price_that_changed_is_found_on_its_day_with_what_it_costs() -> None:
    hours = CALM.copy()
    later = within(hours, 45, DAYS)
    hours.loc[later, "cost"] = priced(hours[later], {"a/big": 1.3})
    (found,) = found_in(hours)
    assert (found.kind, found.subject) == ("price", "model=a/big")
    assert found.start.date() == (START + pd.Timedelta(days=45)).date()
    mine = later & (hours["model"] == "a/big")
    assert found.excess == pytest.approx(hours.loc[mine, "cost"].sum() * 0.3 / 1.3, rel=0.02)
    assert found.split["price"] > 0
    assert found.split["volume"] == found.split["mix"] == 0
    # A price that falls is told of as well, and as a saving.
    hours.loc[later, "cost"] = priced(hours[later], {"a/big": 0.8})
    (fell,) = found_in(hours)
    assert fell.excess < 0
    assert "-20%" in fell.words


def looped(cost: float = 4.0) -> pd.DataFrame:
    """`south/user-1` calls `a/big` all day on day 46, from six in the morning, for some dollars an hour."""
    at = START + pd.Timedelta(days=46, hours=6) + pd.to_timedelta(np.arange(14), "h")
    loop = CALM.iloc[: len(at)].copy()
    loop[["workspace", "user", "model"]] = ["south", "user-1", "a/big"]
    loop["hour"] = at
    tokens = cost / sum(PRICES["a/big"])
    loop[["calls", "answered", "input_tokens", "output_tokens", "cost", "latency_ms"]] = [
        tokens / 2_000, tokens / 2_000, tokens, tokens, cost, tokens / 2_000 * 300.0 + tokens * 12.0,
    ]  # fmt: skip
    return pd.concat([CALM, loop], ignore_index=True).sort_values("hour", ignore_index=True)


def test_a_runaway_user_is_found_once_with_the_model_and_nothing_else_is_told_of_it() -> None:
    (found,) = found_in(looped())
    assert (found.kind, found.subject, found.workspace) == ("runaway user", "user=south/user-1", "south")
    assert found.start == (START + pd.Timedelta(days=46, hours=6)).to_pydatetime()
    assert found.severity == "critical"
    assert found.causes[0]["value"] == "a/big"
    assert found.causes[0]["share"] > 0.95
    assert found.excess == pytest.approx(14 * 4.0, rel=0.1)
    assert not found.ongoing


def test_it_is_found_within_its_first_hours() -> None:
    early = (START + pd.Timedelta(days=46, hours=11)).to_pydatetime()
    hours = looped()
    known = hours[hours["hour"] < early]
    frames = Frames(known, by_day(known[known["hour"] < START + pd.Timedelta(days=46)]), no_failures())
    (found,) = findings_of(frames, early)
    assert found.kind == "runaway user"
    assert found.ongoing


def test_more_calls_are_volume_of_their_workspace() -> None:
    hours = CALM.copy()
    mine = within(hours, 44, 46) & (hours["workspace"] == "north")
    hours.loc[mine, ["calls", "answered", "input_tokens", "output_tokens", "cost", "latency_ms"]] *= 2.5
    (found,) = found_in(hours)
    assert (found.kind, found.subject, found.workspace) == ("volume", "workspace=north", "north")
    assert (found.start - START.to_pydatetime()).days == 44
    assert (found.end - START.to_pydatetime()).days == 47
    assert found.split["volume"] > 0.8 * sum(found.split.values())
    assert sum(found.split.values()) == pytest.approx(found.value - found.expected)
    assert found.excess == pytest.approx(hours.loc[mine, "cost"].sum() * 1.5 / 2.5, rel=0.25)


def test_longer_prompts_and_another_mix_are_told_apart() -> None:
    hours = CALM.copy()
    mine = within(hours, 45, 47) & (hours["workspace"] == "south")
    hours.loc[mine, "input_tokens"] *= 5
    hours.loc[mine, "cost"] = priced(hours[mine], {})
    (longer,) = found_in(hours)
    assert (longer.kind, longer.subject) == ("prompt length", "workspace=south")
    hours = CALM.copy()
    hours.loc[mine, "model"] = "a/big"
    hours.loc[mine, "cost"] = priced(hours[mine], {})
    (mixed,) = found_in(hours)
    assert (mixed.kind, mixed.subject) == ("model mix", "workspace=south")
    assert mixed.causes[0]["dimension"] == "model"
    assert mixed.causes[0]["value"] == "a/big"


def test_an_outage_explains_that_calls_went_elsewhere_and_another_model_s_does_not() -> None:
    hours = CALM.copy()
    mine = within(hours, 45, 47) & (hours["workspace"] == "south") & (hours["model"] == "a/small")
    hours.loc[mine, "model"] = "a/big"
    hours.loc[mine, "cost"] = priced(hours[mine], {})
    for failing, kinds in (("a/small", {"errors"}), ("a/other", {"errors", "model mix"})):
        at = [START + pd.Timedelta(days=day, hours=hour) for day in (45, 46, 47) for hour in range(9, 17)]
        failed = pd.DataFrame({"hour": at, "model": failing, "failure": "server", "failed": 30})
        assert {one.kind for one in found_in(hours, failed)} == kinds


def test_what_lasts_becomes_usual() -> None:
    hours = CALM.copy()
    mine = within(hours, 20, DAYS) & (hours["workspace"] == "north")
    hours.loc[mine, ["calls", "answered", "input_tokens", "output_tokens", "cost", "latency_ms"]] *= 2.5
    assert found_in(hours, days=5) == []


def test_a_new_model_that_costs_something_is_told_with_who_uses_it() -> None:
    hours = CALM.copy()
    mine = within(hours, 46, DAYS) & (hours["workspace"] == "north") & (hours["model"] == "a/big")
    hours.loc[mine, "model"] = "b/new"
    kinds = {one.kind: one for one in found_in(hours)}
    assert set(kinds) == {"new model"}
    assert kinds["new model"].subject == "model=b/new"
    assert kinds["new model"].causes[0]["value"] == "north"


def test_a_model_that_fails_is_found_with_the_kind_of_failure() -> None:
    hours = CALM.copy()
    at = [START + pd.Timedelta(days=45, hours=hour) for hour in (10, 11, 12)]
    failed = pd.DataFrame({"hour": at * 2, "model": "a/big", "failure": ["server"] * 3 + ["timeout"] * 3,
                           "failed": [5, 6, 4, 1, 1, 1]})  # fmt: skip
    (found,) = found_in(hours, failed)
    assert (found.kind, found.subject) == ("errors", "model=a/big")
    assert (found.start, found.end) == (at[0].to_pydatetime(), at[-1].to_pydatetime() + timedelta(hours=1))
    assert found.causes[0]["value"] == "server"
    # One odd failure now and then is no outage.
    odd = pd.DataFrame({"hour": at, "model": "a/big", "failure": "server", "failed": [1, 0, 1]})
    assert found_in(hours, odd) == []


def test_a_model_that_is_slow_is_found_and_longer_answers_are_not_slowness() -> None:
    hours = CALM.copy()
    slow = within(hours, 45, 46) & (hours["model"] == "a/small")
    hours.loc[slow, "latency_ms"] *= 2.5
    (found,) = found_in(hours)
    assert (found.kind, found.subject) == ("latency", "model=a/small")
    assert found.value / found.expected == pytest.approx(2.5, rel=0.15)
    hours = CALM.copy()
    hours.loc[slow, "output_tokens"] *= 2.0
    hours.loc[slow, "latency_ms"] = hours.loc[slow, "calls"] * 300.0 + hours.loc[slow, "output_tokens"] * 12.0
    assert [one for one in found_in(hours) if one.kind == "latency"] == []


def test_a_budget_that_will_be_used_up_is_told_of_until_it_is() -> None:
    def outlook(spent: float) -> list[Finding]:
        budget = Budget(
            id="0" * 32, scope="workspace", subject="north", workspace="", amount=100 * 10**9, period="month",
            action="alert", created_at=AS_OF, updated_at=AS_OF,
        )  # fmt: skip
        days = [AS_OF + timedelta(days=k) for k in range(20)]
        spending = Spending(np.full((200, 20), 8.0), days, spent, 0.0)
        return pace_findings([outlook_of(budget, "workspace=north", spending)], AS_OF)

    (found,) = outlook(20.0)
    assert found.kind == "budget pace"
    assert found.expected == 100.0
    assert outlook(0.0) == []
    assert outlook(130.0) == []


CELLS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 10**6), st.floats(0, 1e3)), min_size=1, max_size=6
)  # fmt: skip


@given(CELLS, CELLS)
def test_the_parts_of_a_change_add_up_to_it(
    before: list[tuple[int, int, float]], after: list[tuple[int, int, float]]
) -> None:
    count = max(len(before), len(after))

    def sums(rows: list[tuple[int, int, float]]) -> np.ndarray:
        made = np.zeros((count, 3))
        for place, (calls, tokens, cost) in enumerate(rows):
            # Without a call there is neither a token nor a cost.
            made[place] = (calls, tokens, cost) if calls else (0, 0, 0)
        return made

    found = split_of(sums(before), sums(after))
    assert sum(found.parts().values()) == pytest.approx(found.change, abs=1e-6 * (1 + found.before + found.after))


def test_the_split_names_what_moved() -> None:
    rows = pd.DataFrame({"workspace": "north", "model": ["a/big", "a/small"], "calls": [10.0, 30.0]})
    rows = rows.assign(input_tokens=100 * rows["calls"], output_tokens=0.0, cost=[10.0, 3.0])
    twice = rows.assign(**{name: 2 * rows[name] for name in ("calls", "input_tokens", "cost")})
    dearer = rows.assign(cost=2 * rows["cost"])
    longer = rows.assign(input_tokens=2 * rows["input_tokens"], cost=2 * rows["cost"])
    for after, part in ((twice, "volume"), (dearer, "price"), (longer, "length")):
        taken = split(rows, after, 1.0, 1.0)
        assert taken.main == part
        assert taken.parts()[part] == pytest.approx(13.0)
    other = rows.assign(calls=[30.0, 10.0], input_tokens=[3000.0, 1000.0], cost=[30.0, 1.0])
    assert split(rows, other, 1.0, 1.0).main == "mix"
    (first, *_) = causes(rows, other, 1.0, 1.0, ("workspace", "model"))
    assert (first["dimension"], first["value"], first["change"]) == ("model", "a/big", 20.0)


def test_scores_and_severities_grow() -> None:
    assert score_of(1.0) == 0.5
    assert score_of(2.0) == 0.75
    assert [severity_of_money(share, 1.0) for share in (0.05, 0.2, 0.5, 2.0)] == ["low", "medium", "high", "critical"]


def test_the_picture_shows_findings_and_none() -> None:
    hours = looped()
    frames = Frames(hours, by_day(hours), no_failures())
    found = findings_of(frames, AS_OF)
    pictures = {findings_plot(frames, shown) for shown in (found, [])}
    assert len(pictures) == 2
    assert all(one[:4] == b"\x89PNG" for one in pictures)
