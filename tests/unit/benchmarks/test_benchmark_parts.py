"""Prompts of a benchmark, grades of answers, and the report over them."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from gateway.improve.benchmarks.prompts import digest_of, read_prompts
from gateway.improve.benchmarks.report import as_csv, metrics_of, report_of
from gateway.improve.benchmarks.scoring import grade, says, shared_words
from store.errors import EmptyData, InvalidValue
from store.llm_benchmarks import Result


def test_prompts_are_read_and_defaults_filled_in() -> None:
    first, second = read_prompts(
        [
            b'{"prompt": "What is 2 + 2?", "system": "Be brief.", "expected": "4", "max_tokens": 5}',
            "  ",
            '{"id": 7, "group": "ticket", "messages": [{"role": "user", "content": "Hi"}], "reference": "Hello"}',
        ]
    )
    assert (first.id, first.group, first.expected, first.asked) == ("1", "1", ("4",), "What is 2 + 2?")
    assert first.body("auto") == {
        "model": "auto",
        "max_tokens": 5,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}],
    }
    assert (second.id, second.group, second.reference) == ("7", "ticket", "Hello")
    assert digest_of([first, second]) != digest_of([second, first])


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        ("{", "prompts.0", "is not JSON"),
        ("[]", "prompts.0", "is not an object"),
        ("{}", "prompts.0.prompt", "one of them is needed"),
        ('{"prompt": "a", "messages": []}', "prompts.0.prompt", "not both"),
        ('{"prompt": "a", "expects": "b"}', "prompts.0.expects", "is not known"),
        ('{"prompt": "a", "expected": 4}', "prompts.0.expected", "list of texts"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "prompts.0.messages", "nothing to answer"),
        ('{"messages": [{"role": "judge", "content": "a"}]}', "prompts.0.messages", "role"),
        ('{"prompt": "a", "max_tokens": 0}', "prompts.0.max_tokens", "whole number"),
    ],
)
def test_a_wrong_line_is_named(line: str, field: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message) as raised:
        read_prompts([line])
    assert raised.value.field == field
    with pytest.raises(InvalidValue, match="earlier line"):
        read_prompts(['{"prompt": "a", "id": "x"}'] * 2)
    with pytest.raises(EmptyData):
        read_prompts(["", "\n"])


@pytest.mark.parametrize(
    ("answer", "wanted", "right"),
    [
        ("17 × 23:\n10 × 23 is 230.\nThe answer is: 391", "391", True),
        ("It is 391.", "391", True),
        ("It is 3910.", "391", False),
        ("It is 391.5.", "391", False),
        ("391 is close, but the answer is: 392", "391", False),
        ("(B)", "b", True),
        ('```json\n{"city": "Paris", "n": 1.0}\n```', '{"n": 1, "city": "Paris"}', True),
        ("The capital is Paris!", "Paris", True),
        ("Parisian life\nis good", "Paris", False),
        ("", "391", False),
    ],
)
def test_what_was_expected_is_found_and_nothing_else(answer: str, wanted: str, right: bool) -> None:
    assert says(answer, wanted) is right
    assert grade("?", answer, "stop", expected=("nothing of it", wanted)).score == float(right)


def test_a_reference_counts_by_what_it_is() -> None:
    short = grade("What is 17 * 23?", "The answer is: 391", "stop", reference="391")
    assert (short.score, short.by) == (1.0, "reference")
    asked = "Explain heat pumps. Mention noise limits and running costs."
    good = "Noise limits decide where a heat pump may stand, and running costs follow the price of power in winter."
    near = grade(asked, good + " Ask early.", "stop", reference=good)
    far = grade(asked, "The museum opens at ten and closes at six on every day but Monday.", "stop", reference=good)
    assert near.score > far.score + 0.4
    assert near.by == "reference"
    assert grade(asked, good, "stop").by == "words v2"
    assert grade(asked, "", "stop", reference=good).score == 0.0
    assert shared_words("a b b", "b a b") == 1.0
    assert shared_words("a", "b") == 0.0


def results() -> list[Result]:
    """A good, a bad and a failing model on 20 prompts, twice."""
    made = []
    for model, quality in (("good", 0.9), ("bad", 0.4), ("failing", 0.0)):
        for prompt in range(20):
            for repeat in range(2):
                failed = model == "failing"
                made.append(
                    Result(
                        model=model, prompt=prompt, repeat=repeat, prompt_id=f"p{prompt}", group=f"p{prompt}",
                        domain="math", call_id="0" * 32, answered_by=None if failed else model,
                        quality=quality + 0.004 * (prompt % 5), scored_by="=words", cost=1_000_000 + prompt,
                        latency_ms=None if failed else 100.0 + prompt, input_tokens=5, output_tokens=9,
                        error="UpstreamFailed" if failed else None,
                    )
                )  # fmt: skip
    return made


def test_the_report_ranks_and_tells_what_differs() -> None:
    report = report_of(results(), ["bad", "failing", "good"])
    assert [row["model"] for row in report["models"]] == ["good", "bad", "failing"]
    good, _, failing = report["models"]
    assert good["quality"]["value"] == pytest.approx(0.908)
    assert good["quality"]["low"] < 0.908 < good["quality"]["high"]
    assert (good["prompts"], good["answers"], good["answered_by"]) == (20, 40, {"good": 40})
    # Who does not answer is of no quality, and has no latency that could look good.
    assert (failing["failed"], failing["latency_ms"], failing["quality"]["value"]) == (40, None, pytest.approx(0.008))
    pairs: dict[Any, Any] = {(one["measure"], one["first"], one["second"]): one for one in report["pairs"]}
    assert pairs["quality", "good", "bad"]["significant"]
    assert pairs["quality", "good", "bad"]["groups"] == 20  # repeats are no prompts
    assert not pairs["cost", "good", "bad"]["significant"]
    assert ("latency_ms", "good", "failing") not in pairs
    assert metrics_of(report)["quality/good"] == pytest.approx(0.908)
    assert report_of([], ["good"])["models"] == []


def test_answers_are_a_table_that_no_spreadsheet_runs() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(results()))))
    assert len(rows) == 120
    assert float(rows[0]["cost"]) == 0.001
    assert rows[0]["scored_by"] == "'=words"
