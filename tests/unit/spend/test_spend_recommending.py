"""Recommendations on spending against calls whose truth is known: what is estimated, what is measured, what is not
advised."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from models.spend.recommending.advice import Advice, drawn_days
from models.spend.recommending.another_model import Tolerance, cheaper_models
from models.spend.recommending.expected import expected
from models.spend.recommending.measured_cache import cache_saving
from models.spend.recommending.measured_model import model_saving
from models.spend.recommending.measured_prompts import prompt_saving
from models.spend.recommending.offline import batches
from models.spend.recommending.prices import unit_prices
from models.spend.recommending.repeats import repeats
from models.spend.recommending.trimming import trims
from tests.unit.spend.simulated_calls import CHAT, START, Followed, calls, cells_of

SEEDS = range(4)
LARGE = "simulated/large"
END = datetime(2026, 9, 29)


def advise(frame: pd.DataFrame, tolerance: Tolerance | None = None, days: int = 28) -> list[Advice]:
    cells = cells_of(frame)
    recent = cells[cells["day"] > cells["day"].max() - pd.Timedelta(days=days)]
    return cheaper_models(recent, expected(cells), days=days, bill=float(recent["cost"].sum()), tolerance=tolerance)


def halves(frame: pd.DataFrame, day: int = 56) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cells before a day and since."""
    return cells_of(frame[frame["number"] < day]), cells_of(frame[frame["number"] >= day])


def test_prices_are_read_off_the_ledger_to_the_nano() -> None:
    found = unit_prices(cells_of(calls(0, 14)))
    for model in CHAT:
        assert found[model.id].input * 1e9 == pytest.approx(model.input)
        assert found[model.id].output * 1e9 == pytest.approx(model.output)
        assert found[model.id].off < 1e-6


def test_the_estimated_interval_covers_what_the_other_model_would_have_cost() -> None:
    covered, widths = 0, []
    for seed in SEEDS:
        frame = calls(seed, 56)
        (advice,) = advise(frame)
        assert (advice.workspace, advice.subject, advice.kind) == ("marketing", LARGE, "cheaper model")
        scope = advice.scope
        mine = frame[
            (frame["number"] >= 28) & (frame["asked"] == LARGE) & frame["complexity"].isin(scope["complexities"])
        ]
        truth = float((mine["cost"] - mine[f"cost:{scope['use']}"]).sum()) * 30 / 28
        covered += advice.saving.low <= truth <= advice.saving.high
        widths.append((advice.saving.high - advice.saving.low) / truth)
        assert advice.saving.value == pytest.approx(truth, rel=0.15)
        assert advice.setting == {
            "substitutes": {"asked": LARGE, **{name: scope[name] for name in ("use", "complexities")}}
        }
    assert covered >= 3
    assert max(widths) < 0.5


def test_what_is_measured_covers_what_was_truly_saved_and_is_not_the_estimate() -> None:
    covered = 0
    for seed in SEEDS:
        followed = Followed("simulated/medium", ("simple", "moderate"), day=56)
        frame = calls(100 + seed, 84, followed)
        scope = {"asked": LARGE, "use": followed.use, "complexities": list(followed.complexities)}
        found = model_saving("marketing", scope, *halves(frame), 28.0)
        assert found is not None
        used = frame[frame["part"] == "used"]
        truth = float((used[f"cost:{LARGE}"] - used["cost"]).sum())
        covered += found["saved"].low <= truth <= found["saved"].high
        assert found["saved"].value == pytest.approx(truth, rel=0.1)
        assert found["calls"] == len(used)
        assert found["spent"] == pytest.approx(used["cost"].sum())
        # The other method, and those that chance held back, tell the same.
        assert found["check"]["low"] <= truth <= found["check"]["high"]
        evidence = found["evidence"]
        by_held_back = (evidence["cost_a_call_held_back"] - evidence["cost_a_call_used"]) * len(used)
        assert by_held_back == pytest.approx(truth, rel=0.25)
    assert covered >= 3


def test_a_price_that_rose_meanwhile_is_no_saving_and_no_loss() -> None:
    """What the calls would cost today counts, not what they cost once."""
    followed = Followed("simulated/medium", ("simple", "moderate"), day=56)
    frame = calls(7, 84, followed, dearer=1.5)
    scope = {"asked": LARGE, "use": followed.use, "complexities": list(followed.complexities)}
    found = model_saving(
        "marketing", scope, cells_of(frame[frame["number"] < 56]), cells_of(frame[frame["number"] >= 56]), 28.0
    )
    assert found is not None
    used = frame[frame["part"] == "used"]
    assert found["saved"].value == pytest.approx(float((used[f"cost:{LARGE}"] - used["cost"]).sum()), rel=0.1)


def test_a_fall_of_quality_is_warned_of_and_none_is_not() -> None:
    told = {}
    for use, complexities in (("simulated/nano", ("moderate", "complex")), ("simulated/medium", ("simple",))):
        frame = calls(11, 98, Followed(use, complexities, day=56, held_back=0.2), judged=0.6)
        scope = {"asked": LARGE, "use": use, "complexities": list(complexities)}
        found = model_saving(
            "marketing", scope, cells_of(frame[frame["number"] < 56]), cells_of(frame[frame["number"] >= 56]), 42.0
        )
        assert found is not None
        told[use] = found
    worse, same = told["simulated/nano"], told["simulated/medium"]
    assert worse["quality"]["high"] < 0
    assert any("Judgements fell" in one for one in worse["warnings"])
    assert worse["saved"].value > 0  # cheaper all the same
    assert same["quality"]["low"] < 0.0 < same["quality"]["high"] + 0.03
    assert not any("fell" in one for one in same["warnings"])


def test_a_model_that_would_answer_worse_is_not_advised() -> None:
    frame = calls(3, 84)
    assert advise(frame, Tolerance(expected=0.0, worst=0.0)) == []
    (careful,) = advise(frame)
    (careless,) = advise(frame, Tolerance(expected=1.0, worst=1.0))
    assert careless.saving.value > careful.saving.value
    assert careless.quality is not None
    assert careful.quality is not None
    assert careless.quality.value < careful.quality.value


def test_nothing_is_advised_of_what_is_over_or_where_nobody_judged() -> None:
    frame = calls(4, 56)
    large = frame["asked"] == LARGE
    # A program that ran away for three days, and one that stopped a week ago.
    assert advise(frame[~large | frame["number"].between(40, 42)]) == []
    assert advise(frame[~large | (frame["number"] < 49)]) == []
    assert advise(frame.assign(judged=0.0, judgement=0.0)) == []
    assert advise(frame[~large]) == []  # what the gateway chooses itself is its router's to improve


def test_repeats_within_the_caches_time_are_what_a_cache_saves() -> None:
    rng = np.random.default_rng(0)
    asked = []
    truth = 0.0
    for day in range(28):
        for number in range(40):
            at = END - timedelta(days=day, hours=3) - timedelta(minutes=5 * number)
            key = bytes([day, number // 4])
            cost = float(rng.uniform(0.001, 0.002))
            asked.append((at, key, cost))
            # Four in a row, five minutes apart: the first, in time, is paid for.
            truth += cost if number % 4 != 3 else 0.0
    (advice,) = repeats({"support": asked}, END, days=28, ttl_s=3600, bill=1.0)
    assert advice.kind == "cache"
    assert advice.saving.value == pytest.approx(truth * 30 / 28)
    assert advice.saving.low < advice.saving.value < advice.saving.high
    assert advice.evidence["hits"] == 28 * 30
    assert advice.setting == {"cache": "exact"}
    # A shorter time, and nothing within it.
    assert repeats({"support": asked}, END, days=28, ttl_s=200, bill=1.0) == []


def test_what_the_cache_saved_is_counted_at_what_others_of_the_kind_cost() -> None:
    frame = calls(5, 28)
    mine = frame[(frame["workspace"] == "support") & (frame["number"] < 28)]
    # Every fourth call is answered by the cache instead.
    from_cache = mine.index % 4 == 0
    hits = mine[from_cache].assign(day=START + pd.to_timedelta(mine[from_cache]["number"], unit="D"), calls=1.0)
    hits = hits.groupby(["day", "asked", "domain", "complexity"], as_index=False)["calls"].sum()
    found = cache_saving(hits, cells_of(mine[~from_cache]), 28.0)
    assert found is not None
    truth = float(mine[from_cache]["cost"].sum())
    assert found["saved"].low <= truth <= found["saved"].high
    assert found["saved"].value == pytest.approx(truth, rel=0.1)
    assert cache_saving(hits.iloc[:0], cells_of(mine), 28.0) is None


def test_shorter_prompts_are_estimated_by_sample_and_measured_by_what_prompts_became() -> None:
    frame = calls(6, 84)
    cells = cells_of(frame[frame["number"] < 56])
    sample = [(200 + n, 160 + n) for n in range(60)]
    recent = cells[cells["day"] >= START + pd.Timedelta(days=28)]
    (advice,) = trims({"marketing": sample}, recent, unit_prices(cells), days=28, bill=1.0)
    mine = frame[(frame["workspace"] == "marketing") & frame["number"].between(28, 55)]
    prices = {model.id: model.input for model in CHAT}
    given = float((mine["input_tokens"] * mine["model"].map(prices)).sum()) / 1e9
    share = 1 - sum(b for _, b in sample) / sum(a for a, _ in sample)
    assert advice.saving.low <= share * given * 30 / 28 <= advice.saving.high
    # From day 56 on a quarter less is sent.
    later = frame[frame["number"] >= 56].copy()
    short = later["workspace"] == "marketing"
    less = (0.25 * later["input_tokens"] * short).round()
    price = later["model"].map(prices) / 1e9
    later["input_tokens"] -= less
    later["cost"] -= less * price
    found = prompt_saving("marketing", cells, cells_of(later), 28.0)
    assert found is not None
    assert found["saved"].value == pytest.approx(float((less * price).sum()), rel=0.15)
    assert found["saved"].low > 0
    assert trims({"marketing": [(200, 199)] * 60}, recent, unit_prices(cells), days=28, bill=1.0) == []


def test_batches_are_advised_where_nobody_waits_and_a_provider_sells_them_for_less() -> None:
    def cells(streamed: float, nightly: float, provider: str = "openai") -> pd.DataFrame:
        days = pd.date_range(START, periods=28, freq="D")
        return pd.DataFrame(
            {"day": days, "workspace": "metering", "asked": "auto", "kind": "chat", "provider": provider, "calls": 20.0,
             "streamed": 20 * streamed, "talked": 0.0, "nightly": 20 * nightly, "cost": 0.4}
        )  # fmt: skip

    (advice,) = batches(cells(0.0, 0.8), days=28, bill=1.0)
    assert advice.saving.value == pytest.approx(0.5 * 0.4 * 30)
    assert advice.setting is None  # the gateway cannot do it
    assert advice.steps
    assert batches(cells(0.3, 0.8), days=28, bill=1.0) == []
    assert batches(cells(0.0, 0.2), days=28, bill=1.0) == []
    assert batches(cells(0.0, 0.8, "simulated"), days=28, bill=1.0) == []


def test_days_are_drawn_so_that_sums_vary_as_they_would() -> None:
    values = np.random.default_rng(1).normal(1.0, 0.3, 8)
    totals = drawn_days(8, 20_000, 0) @ values
    assert totals[0] == pytest.approx(values.sum())
    assert totals.std() == pytest.approx(values.std(ddof=1) * np.sqrt(8), rel=0.03)
