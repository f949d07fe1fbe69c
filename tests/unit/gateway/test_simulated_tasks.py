"""Tasks of the simulated world: what a prompt states is what was drawn, and grades tell right from wrong."""

from __future__ import annotations

from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.world.llm.answers import closed_answer, open_answer
from features.world.llm.functions import FUNCTIONS
from features.world.llm.glossary import ENGLISH, FRENCH, GERMAN
from features.world.llm.models import chance, item_effect, logit
from features.world.llm.offers import MODELS
from features.world.llm.tasks import KINDS
from gateway.choose.catalogue import DOMAINS as CATALOGUE_DOMAINS
from gateway.simulated.tasks import COMPLEXITIES, DOMAINS, Task, draw, generate, recognise
from gateway.simulated.truth import grade, true_quality
from store.errors import InvalidValue, UnknownLlm

tasks = st.builds(
    lambda seed, domain, complexity: draw(Random(seed), domain, complexity),
    st.integers(0, 2**32),
    st.sampled_from(DOMAINS),
    st.sampled_from(COMPLEXITIES),
)


def test_domains_are_those_of_the_catalogue() -> None:
    assert set(DOMAINS) == set(CATALOGUE_DOMAINS)


@given(st.integers(0, 2**32), st.sampled_from(DOMAINS), st.sampled_from(COMPLEXITIES))
def test_a_task_is_of_the_domain_and_complexity_it_was_drawn_for(seed: int, domain: str, complexity: str) -> None:
    drawn = draw(Random(seed), domain, complexity)
    assert (drawn.domain, drawn.complexity) == (domain, complexity)
    assert drawn.closed or drawn.parts


@given(tasks)
def test_a_prompt_states_the_task_that_was_drawn(task: Task) -> None:
    assert recognise(task.prompt) == task


@given(tasks, st.integers(0, 2**32), st.floats(0.5, 1.5))
def test_grades_tell_right_from_wrong(task: Task, seed: int, wordiness: float) -> None:
    if task.closed:
        assert grade(task.prompt, closed_answer(task, True, Random(seed), wordiness)) == 1
        assert grade(task.prompt, closed_answer(task, False, Random(seed), wordiness)) == 0
        assert grade(task, KINDS[task.kind].wrong(task, Random(seed))) == 0
    else:
        assert grade(task, open_answer(task, 1.0, Random(seed), wordiness)) == pytest.approx(1, abs=1 / len(task.parts))
        assert grade(task, open_answer(task, 0.0, Random(seed), wordiness)) == 0


@pytest.mark.parametrize(
    ("prompt", "right"),
    [
        ("Hello! Could you compute (3 + 4) * 2 - 10 / 4 for me?", "11.5"),
        ("How many days are there between 2024-02-28 and 2024-03-01?", "2"),
        ("How many times does the letter 'r' occur in: strawberry?", "3"),
        ("Please translate the following from English to German: house, dog", "Haus, Hund"),
        ("Convert 100 kilometres to miles.", "62.14"),
        ("Ben is taller than Clara. Anna is taller than Ben. Who is the shortest?", "Clara"),
        ('What is the value of "a.b" in this JSON? {"a": {"b": 17}}', "17"),
        ("Extract all e-mail addresses: write to a@b.example, c.d@e.example.", "a@b.example, c.d@e.example"),
        ("What is the capital of Australia?\nA) Sydney\nB) Canberra\nC) Perth", "B"),
    ],
)
def test_what_people_ask_by_themselves_is_solved_too(prompt: str, right: str) -> None:
    assert recognise(prompt).right == right


@pytest.mark.parametrize(
    "prompt",
    ["", " ", "What is 1/0?", "Compute 9**9**9**9", "((((", "How many days between 2024-13-45 and 2024-99-99?"],
)
def test_nonsense_is_an_open_task(prompt: str) -> None:
    assert not recognise(prompt).closed


@given(st.text(max_size=400))
def test_any_text_states_some_task_and_can_be_answered(text: str) -> None:
    task = recognise(text)
    assert task.domain in DOMAINS
    said = closed_answer(task, True, Random(1)) if task.closed else open_answer(task, 0.9, Random(1))
    assert said.strip()
    assert 0 <= grade(task, said) <= 1


def test_a_question_of_ones_own_has_a_key_that_nothing_gives_away() -> None:
    rights = [recognise(f"Question {n}?\nA) this\nB) that\nC) both\nD) none").right for n in range(400)]
    assert {letter: rights.count(letter) > 60 for letter in "ABCD"} == dict.fromkeys("ABCD", True)


@pytest.mark.parametrize("known", FUNCTIONS, ids=lambda known: known.name)
def test_the_known_functions_run_and_the_slips_differ(known: object) -> None:
    from features.world.llm.functions import Known

    assert isinstance(known, Known)
    scope: dict[str, object] = {}
    exec(known.code(), scope)
    assert callable(scope[known.name])
    assert known.slip[0] in known.body
    assert known.code(right=False) != known.code()


def test_the_glossary_has_one_word_for_each() -> None:
    for words in (ENGLISH, GERMAN, FRENCH):
        assert len({word.casefold() for word in words}) == len(words) >= 300


@pytest.mark.parametrize("model", ["simulated/nano", "simulated/medium", "simulated/thinker"])
@pytest.mark.parametrize(
    ("domain", "complexity"), [("math", "moderate"), ("translation", "complex"), ("code", "simple")]
)
def test_quality_is_what_the_truth_says(model: str, domain: str, complexity: str) -> None:
    rng, grades = Random(3), []
    for number in range(1_500):
        task = draw(rng, domain, complexity)
        # The same prompt again is as hard again: let each have its own words, as real ones have.
        own = chance(logit(MODELS[model], domain, complexity) - item_effect(7, f"{task.prompt} {number}"))
        said = closed_answer(task, rng.random() < own, rng) if task.closed else open_answer(task, own, rng)
        grades.append(grade(task, said))
    expected = true_quality(model, domain, complexity)
    mean = sum(grades) / len(grades)
    assert abs(mean - expected) < 4 * sqrt(expected * (1 - expected) / len(grades)) + 0.005


def test_stronger_models_are_better_and_harder_tasks_are_worse() -> None:
    for domain in DOMAINS:
        for model in MODELS:
            qualities = [true_quality(model, domain, complexity) for complexity in COMPLEXITIES]
            assert qualities == sorted(qualities, reverse=True)
        nano, large = (true_quality(f"simulated/{name}", domain, "complex") for name in ("nano", "large"))
        assert large > nano + 0.2
    assert true_quality("simulated/coder", "code", "expert") > true_quality("simulated/medium", "code", "expert")


def test_the_same_seed_generates_the_same_tasks() -> None:
    assert list(generate(5, 50)) == list(generate(5, 50))
    assert list(generate(5, 50)) != list(generate(6, 50))


def test_unknown_domains_and_models_are_named() -> None:
    with pytest.raises(InvalidValue, match="'cooking'"):
        draw(Random(1), "cooking", "simple")
    with pytest.raises(UnknownLlm, match="'simulated/huge'"):
        true_quality("simulated/huge", "code", "simple")
