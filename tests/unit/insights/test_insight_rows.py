"""Which rows a question gets, what they hold, and how simulated models answer from them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from features.world.llm.offers import MODELS
from gateway.simulated.answers import Answers
from gateway.simulated.asked import Asked
from gateway.simulated.grounded import rows_of
from models.insights.asking import messages
from models.insights.checking import UNTOLD, check
from models.insights.gathering import MOST_ROWS, gather
from models.insights.periods import Period, period_of
from models.insights.row import Row
from models.insights.topics import Need, need_of
from models.spend.bill import bill_of
from store import llm_calls
from store.database import dispose, migrate
from store.errors import EmptyData
from store.settings import Settings

AS_OF = datetime(2026, 10, 31, 18)


@pytest.mark.parametrize(
    ("question", "need"),
    [
        ("Which model cost most last week?", Need(("usage",), ("model",), 7, before=False)),
        ("Who spent more than before in the last 14 days?", Need(("usage",), ("user",), 14, before=True)),
        ("Will the support team's budget be used up?", Need(("forecast", "budgets"), ("workspace",), 30, before=False)),
        ("Why did spending rise yesterday?", Need(("anomalies", "usage"), ("day",), 1, before=True)),
        ("What was promoted lately?", Need(("promotions",), (), 30, before=False)),
        ("How many customers will churn, by segment?", Need(("churn", "segments"), (), 30, before=False)),
        ("Hello?", Need(("usage",), ("model", "workspace"), 30, before=False)),
        ("Welche Modelle waren am teuersten?", Need(("usage",), ("model",), 30, before=False)),
    ],
)
def test_what_a_question_needs(question: str, need: Need) -> None:
    assert need_of(question) == need
    assert need_of(question, 3).days == 3


@pytest.mark.parametrize(
    ("question", "first", "last"),
    [
        ("Which model cost most in October 2026?", "2026-10-01", "2026-10-31"),
        ("What did we spend in September?", "2026-09-01", "2026-09-30"),
        ("Was kostete der Dezember?", "2025-12-01", "2025-12-31"),
        ("What did we spend in 2026-02?", "2026-02-01", "2026-02-28"),
        ("Who spent most on 2026-10-02?", "2026-10-02", "2026-10-02"),
        ("Cost from 2026-10-02 to 2026-10-09 by day?", "2026-10-02", "2026-10-09"),
        ("What did we spend between August and Oct 2026?", "2026-08-01", "2026-10-31"),
        ("What was spent from March to May?", "2026-03-01", "2026-05-31"),
        ("Was haben wir seit Oktober ausgegeben?", "2026-10-01", "2026-10-31"),
        ("How much since 2026-10-20?", "2026-10-20", "2026-10-31"),
        ("What did we spend yesterday?", "2026-10-30", "2026-10-30"),
        ("Kosten im letzten Monat?", "2026-09-01", "2026-09-30"),
        ("Which workspace cost most this month?", "2026-10-01", "2026-10-31"),
        ("How much may we spend, and may it march on?", None, None),
        ("What does gpt-4o-2024-08-06 cost?", None, None),
        ("What will December 2030 cost?", None, None),
        ("What was spent on 2026-13-45?", None, None),
        ("Which model cost most last week?", None, None),
    ],
)
def test_which_days_a_question_names(question: str, first: str | None, last: str | None) -> None:
    wanted = None if first is None or last is None else Period(date.fromisoformat(first), date.fromisoformat(last))
    assert period_of(question, AS_OF) == wanted


def test_at_a_midnight_the_day_that_ended_is_the_latest() -> None:
    midnight = datetime(2026, 11, 1)
    assert period_of("yesterday?", midnight) == Period(date(2026, 10, 31), date(2026, 10, 31))
    assert period_of("this month?", midnight) == Period(date(2026, 10, 1), date(2026, 10, 31))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Forty days of calls of thirty users in two workspaces, some of them with names that are no names."""
    settings = Settings(home=tmp_path_factory.mktemp("insights") / "home", threads=1)
    migrate(settings)
    rows = []
    for n in range(240):
        at = datetime(2026, 9, 22, 9) + timedelta(hours=4 * n)
        rows.append(_line(n, at, "north" if n % 3 else "south", f"user {n % 30}: $1,000,000", f"a/model-{n % 12}"))
    llm_calls.insert(settings, rows)
    yield settings
    dispose(settings)


def _line(n: int, at: datetime, workspace: str, user: str, model: str) -> tuple[Any, ...]:
    given: dict[str, Any] = {
        "id": f"{n:032x}", "at": at.strftime("%Y-%m-%d %H:%M:%S.%f"), "organisation": "o", "workspace": workspace,
        "user": user, "kind": "chat", "asked": "auto", "strategy": "auto", "outcome": "ok", "model": model,
        "provider": "a", "cost": 1_234_567 * (n + 1), "reserved": 0, "latency_ms": 100.0 + n, "stream": False,
        "estimated": False, "propensity": 1.0, "explored": False, "tags": "[]", "attempts": "[]",
    }  # fmt: skip
    numbers = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
               "audio_input_tokens", "audio_output_tokens")  # fmt: skip
    return tuple(given.get(name, 10 if name in numbers else None) for name in llm_calls.COLUMNS)


def gathered(settings: Settings, question: str, **given: Any) -> Any:
    workspace = given.get("workspace")
    return gather(settings, question, AS_OF, lambda: bill_of(settings, AS_OF, 60, workspace=workspace), **given)


def test_rows_are_few_numbered_and_add_up(ledger: Settings) -> None:
    found = gathered(ledger, "Cost by user and by model and by day?")
    assert [row.number for row in found.rows] == list(range(1, len(found.rows) + 1))
    assert len(found.rows) <= MOST_ROWS
    total = found.rows[0].numbers
    for dimension in ("user", "model"):
        table = [row for row in found.rows if row.about.startswith(f"usage by {dimension}")]
        assert sum(row.numbers["cost_usd"] for row in table) == pytest.approx(total["cost_usd"], rel=1e-3)
        assert sum(row.numbers["calls"] for row in table) == total["calls"]
        assert table[-1].values[dimension] == "all others"
    assert len(found.people) == len([row for row in found.rows if row.about.startswith("usage by user")]) - 1
    shown = "\n".join(row.line() for row in found.rows)
    assert "1,000,000" not in shown
    assert set(found.aliases.values()) == {user for _, user in found.people}


def test_the_days_that_are_named_are_looked_at_and_no_others(ledger: Settings) -> None:
    def whole(question: str, as_of: datetime = AS_OF, **given: Any) -> Any:
        found = gather(ledger, question, as_of, lambda: bill_of(ledger, AS_OF, 60), **given)
        return found, found.rows[0]

    calls = [datetime(2026, 9, 22, 9) + timedelta(hours=4 * n) for n in range(240)]
    for question, first, last, days in (
        ("Cost by day in October?", "2026-10-01", "2026-10-31", 31),
        ("Cost by day in September?", "2026-09-01", "2026-09-30", 30),
        ("Cost on 2026-10-02?", "2026-10-02", "2026-10-02", 1),
        ("Cost yesterday?", "2026-10-30", "2026-10-30", 1),
    ):
        _, row = whole(question)
        assert row.about == f"usage in all, {first} to {last}"
        assert row.numbers["days"] == days
        assert row.numbers["calls"] == sum(first <= f"{at:%Y-%m-%d}" <= last and at < AS_OF for at in calls)
    # Every day of a month is there, and of a longer time the earlier ones are summed up.
    by_day = [one for one in whole("Cost by day in October?")[0].rows if one.about.startswith("usage by day")]
    assert [one.values["day"] for one in by_day] == [f"2026-10-{day:02}" for day in range(1, 32)]
    longer, everything = whole("Cost by day since 2026-09-22?")
    *days, earlier = [one for one in longer.rows if one.about.startswith("usage by day")]
    assert (days[0].values["day"], days[-1].values["day"]) == ("2026-10-01", "2026-10-31")
    assert earlier.values["day"] == "all earlier days"
    assert sum(one.numbers["calls"] for one in (*days, earlier)) == everything.numbers["calls"]
    # So many days up to a midnight are whole ones.
    _, month = whole("Cost?", datetime(2026, 11, 1))
    assert month.about == "usage in all, 2026-10-02 to 2026-10-31"
    assert month.numbers["days"] == 30
    # What the caller says counts before what the question says.
    assert whole("Cost in September?", days=2)[1].about == "usage in all, 2026-10-30 to 2026-10-31"
    with pytest.raises(EmptyData, match="no usage from 2026-08-01 to 2026-08-31"):
        whole("Cost in August?")


def test_forecasts_and_budgets_are_rows_too_and_a_workspace_gets_its_own(ledger: Settings) -> None:
    whole = gathered(ledger, "What will we spend next month?")
    assert {row.values.get("workspace") for row in whole.rows if row.about.startswith("forecast")} > {"north", "south"}
    own = gathered(ledger, "What will we spend next month, and by which workspace and user?", workspace="south")
    text = "\n".join(row.line() for row in own.rows)
    assert "forecast" in text
    assert "north" not in text
    assert {workspace for workspace, _ in own.people} == {"south"}
    before = gathered(ledger, "Did costs rise in the last 10 days?")
    assert [row.about for row in before.rows if "in all" in row.about] == [
        "usage in all, 2026-10-22 to 2026-10-31",
        "usage in all, 2026-10-12 to 2026-10-21, the same time before",
    ]
    with pytest.raises(EmptyData, match="no promotions"):
        gathered(ledger, "What was promoted?", workspace="south")


def test_simulated_models_answer_from_rows_and_better_ones_are_wrong_less_often() -> None:
    answers = Answers(7)
    wrong = {}
    for name in ("simulated/nano", "simulated/large"):
        wrong[name] = 0
        for n in range(60):
            rows = [
                Row(1, "usage in all, x", {"cost_usd": 20.0 + n, "calls": 60}),
                Row(2, "usage by model, x", {"model": "a/b-2", "cost_usd": 12.345 + n, "calls": 50}),
                Row(3, "usage by model, x", {"model": "c/d", "cost_usd": 7.655, "calls": 10}),
            ]
            text = messages("Which model cost most?", rows)[1]["content"]
            said = answers.reply(MODELS[name], Asked("m", text, text, 2)).text
            assert said == Answers(7).reply(MODELS[name], Asked("m", text, text, 2)).text
            found = check(said, rows)
            assert found.kept or found.removed
            assert all(" is not in r" in one.reason for one in found.removed)
            wrong[name] += bool(found.removed)
    assert wrong["simulated/large"] < wrong["simulated/nano"]
    assert wrong["simulated/large"] > 0
    assert wrong["simulated/nano"] < 60


def test_what_is_no_question_about_rows_is_answered_as_ever() -> None:
    assert rows_of("What is 17 * 23?") == []
    assert rows_of("Question: what?\n\nRows:\nnone") == []
    text = messages("Who leaves?", [Row(1, "promotions", {"model": "x", "to_version": 3})])[1]["content"]
    assert Answers(7).reply(MODELS["simulated/large"], Asked("m", text, text, 2), 9.0).text == UNTOLD
