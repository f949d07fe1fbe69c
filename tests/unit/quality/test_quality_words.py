"""The score of an answer from its words: padding and cutting never help, and what was asked for is looked for."""

from __future__ import annotations

import json
import re
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.world.llm.answers import FILLER, closed_answer, open_answer
from features.world.llm.tasks import DOMAINS, KINDS, draw, grade
from models.quality.heuristic import Scored, score, score_text
from models.quality.schema import fits
from models.quality.shown import read
from models.quality.wanted import wanted

# Sentences that would fit any answer; none of them was looked at when the vocabulary was written.
PADDING = (
    *FILLER,
    "It is also worth noting that every situation is different.",
    "Of course, there are various ways to look at this, and all of them have something to say.",
    "As we have seen, this is a question that one can think about for a very long time.",
    "To sum up, this is something that everybody should know and understand well.",
    "However, it should be kept in mind that nothing is ever completely certain.",
    "There is much more that could be said here, but this should be enough for now.",
    "That being said, what is right for one person may not be right for another.",
)
# What answers are padded with elsewhere, with words of their own that no list of filler holds.
FLUFF = (
    "I hope this gives you a clear picture of the matter at hand.",
    "Feel free to reach out if you would like me to go deeper into any of these points.",
    "All things considered, the picture is more nuanced than it may first appear.",
    "Let me know whether that answers what you were looking for.",
    "Many experts have written extensively about this fascinating subject over the years.",
    "Each of these considerations deserves careful thought before any decision is taken.",
    "In today's fast-paced world, staying informed matters more than ever before.",
    "Our ancestors would marvel at the bewildering panorama that unfolds before us.",
    "Ich hoffe, das hilft dir weiter.",
)
SENTENCE = "Solar panels on the warehouse roof would pay for themselves within nine years."


def answer_of(seed: int) -> tuple[str, str, Random]:
    rng = Random(seed)
    task = draw(rng, rng.choice(DOMAINS), rng.choice(("simple", "moderate", "complex", "expert")))
    if task.closed:
        return task.prompt, closed_answer(task, rng.random() < 0.6, rng, rng.choice((0.5, 1.0, 1.3))), rng
    return task.prompt, open_answer(task, rng.random(), rng, rng.choice((0.7, 1.0, 1.3))), rng


def sentences_of(text: str) -> list[str]:
    return [one for one in re.findall(r"[A-Z][^.!?\n]{15,}[.!?](?=\s|$)", text) if len(one.split()) > 3]


seeds = st.integers(0, 10**9)


@settings(max_examples=300, deadline=None)
@given(seeds, st.lists(st.sampled_from(PADDING), min_size=1, max_size=5), st.sampled_from((" ", "\n", "\n\n")))
def test_filler_behind_an_answer_never_raises_its_score(seed: int, padding: list[str], between: str) -> None:
    prompt, answer, _ = answer_of(seed)
    padded = between.join((answer, *padding))
    assert score(prompt, padded).score <= score(prompt, answer).score + 1e-9


@settings(max_examples=300, deadline=None)
@given(seeds, st.lists(st.sampled_from(FLUFF), min_size=1, max_size=5, unique=True), st.sampled_from(("\n", "\n\n")))
def test_fluff_in_words_that_nobody_listed_earns_nothing_either(seed: int, fluff: list[str], between: str) -> None:
    prompt, answer, _ = answer_of(seed)
    # What speaks of something that was asked, by a word that it shares with the prompt, is no fluff there; and behind
    # an answer that breaks off, a whole sentence may hide the break.
    asked = wanted(prompt)
    known, chosen = asked.words.keys(), [words for _, words in asked.options]
    assume(read(answer).ends and all(known.isdisjoint(read(one).stems) for one in fluff))
    assume(not any(words in one.lower() for words in chosen for one in fluff))
    assert score(prompt, between.join((answer, *fluff))).score <= score(prompt, answer).score + 1e-9


@settings(max_examples=200, deadline=None)
@given(seeds, st.integers(1, 4), st.sampled_from((" ", "\n")))
def test_repeating_what_was_said_never_raises_its_score(seed: int, times: int, between: str) -> None:
    prompt, answer, rng = answer_of(seed)
    own = sentences_of(answer.rpartition("```")[2])
    assume(own)
    padded = between.join((answer, *[rng.choice(own) for _ in range(times)]))
    assert score(prompt, padded).score <= score(prompt, answer).score + 1e-9


@settings(max_examples=200, deadline=None)
@given(seeds, st.sampled_from(PADDING))
def test_filler_before_and_between_never_raises_the_score(seed: int, padding: str) -> None:
    prompt, answer, rng = answer_of(seed)
    own = answer.split(". ")
    at = rng.randrange(len(own))
    padded = ". ".join((*own[:at], padding.rstrip("."), *own[at:]))
    assert score(prompt, padded).score <= score(prompt, answer).score + 1e-9


@settings(max_examples=300, deadline=None)
@given(seeds, st.floats(0.0, 0.15))
def test_breaking_off_in_the_middle_of_a_sentence_never_raises_the_score(seed: int, share: float) -> None:
    prompt, answer, _ = answer_of(seed)
    kept = answer[: len(answer) - max(1, round(share * len(answer)))].rstrip()
    whole = read(answer)
    assume(len(kept) > 60 and kept[-1] not in ".!?`" and whole.ends and whole.content >= 6)
    # What is cut off may have been filler, which is no loss; nor does it earn more than a trifle.
    assert score(prompt, kept).score <= score(prompt, answer).score + 0.02


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=400), st.text(max_size=800), st.sampled_from((None, "stop", "length", "content_filter", "odd")))
def test_any_text_has_a_score_between_0_and_1(prompt: str, answer: str, finish: str | None) -> None:
    found = score(prompt, answer, finish)
    assert 0.0 <= found.score <= 1.0
    for part in found.parts().values():
        assert part is None or 0.0 <= part <= 1.0
    assert found == score(prompt, answer, finish)
    assert score(prompt, answer, "length").score <= score(prompt, answer, "stop").score + 1e-9


def test_an_answer_is_not_worth_more_for_being_longer() -> None:
    rng = Random(3)
    longer = shorter = 0.0
    for _ in range(60):
        task = draw(rng, "analysis", "complex")
        seed = rng.random()
        # The same parts are spoken of, in fewer or in more words.
        longer += score_text(task.prompt, open_answer(task, 1.0, Random(seed), 1.4))
        shorter += score_text(task.prompt, open_answer(task, 1.0, Random(seed), 0.8))
    assert abs(longer - shorter) / 60 < 0.06


@pytest.mark.parametrize("domain", ["analysis", "writing", "conversation", "summary"])
def test_answers_that_speak_of_all_score_above_those_that_speak_of_little(domain: str) -> None:
    rng = Random(11)
    good, bad = [], []
    for _ in range(150):
        task = draw(rng, domain, rng.choice(("moderate", "complex", "expert")))
        text = open_answer(task, rng.random(), rng)
        (good if grade(task, text) >= 0.7 else bad if grade(task, text) <= 0.4 else []).append(
            score_text(task.prompt, text)
        )
    pairs = [(one > other) + 0.5 * (one == other) for one in good for other in bad]
    assert sum(pairs) / len(pairs) > (0.8 if domain == "summary" else 0.95)


def parts(prompt: str, answer: str, finish: str | None = "stop", form: dict[str, object] | None = None) -> Scored:
    return score(prompt, answer, finish, form)


def test_an_answer_that_was_cut_off_is_incomplete() -> None:
    prompt = "Explain why solar panels on a warehouse roof pay for themselves."
    whole, cut = parts(prompt, SENTENCE), parts(prompt, SENTENCE[:-20])
    assert whole.completeness == 1.0
    assert cut.completeness < 0.5
    assert parts(prompt, SENTENCE, "length").completeness < 0.5
    assert parts(prompt, SENTENCE, "content_filter").completeness < 0.3


def test_an_evasion_is_no_answer() -> None:
    prompt = "Explain why solar panels on a warehouse roof pay for themselves."
    assert parts(prompt, "I'm sorry, but as an AI I cannot help with solar panels.").completeness < 0.3
    assert score_text(prompt, "") == 0.0
    assert score_text(prompt, "   \n") == 0.0


def test_entries_that_were_asked_for_are_counted() -> None:
    prompt = "Give me three reasons to insulate the roof of a depot."
    two = "1. Heating the depot costs less.\n2. The roof lasts longer."
    assert parts(prompt, two).completeness == pytest.approx(2 / 3)
    assert parts(prompt, two + "\n3. Neighbours hear fewer trucks.").completeness == 1.0
    # The same entry again is no third one.
    assert parts(prompt, two + "\n3. The roof lasts longer.").completeness == pytest.approx(2 / 3)


def test_named_parts_are_looked_for() -> None:
    prompt = "Write an article about heat pumps. Cover running costs, noise limits and public funding."
    assert [sorted(one) for one in wanted(prompt).parts] == [
        ["costs"[:-1], "runnin"],
        ["limit", "noise"],
        ["fundin", "public"],
    ]
    two = "Running costs of heat pumps fall every year. Noise limits are kept by all newer heat pumps."
    three = f"{two} Public funding pays for a third of it."
    assert parts(prompt, two).completeness == pytest.approx(2 / 3)
    assert parts(prompt, three).completeness == 1.0
    assert parts(prompt, three).relevance > parts(prompt, two).relevance


def test_what_is_to_be_found_has_to_be_found_and_nothing_else() -> None:
    text = "Write to anna@depot.example or ben@grid.example, not to the pound."
    prompt = f"Extract all e-mail addresses from this text:\n{text}"
    assert score_text(prompt, "anna@depot.example, ben@grid.example") > 0.95
    assert parts(prompt, "anna@depot.example").completeness == 0.5
    assert parts(prompt, "anna@depot.example, carl@depot.example").relevance == 0.5


def test_another_language_than_the_one_asked_for_is_told() -> None:
    prompt = "Explain in German why the depot should be closed at night."
    german = "Das Depot sollte in der Nacht geschlossen sein, weil dann niemand da ist und die Tore sonst offen stehen."
    english = "The depot should be closed at night because nobody is there and the gates would be open otherwise."
    assert parts(prompt, german).coherence == 1.0
    assert parts(prompt, english).coherence < 0.5
    # Nothing is asked for: the language of the question is.
    plain = "Explain why the depot should be closed at night and who is to have the keys."
    assert parts(plain, english).coherence == 1.0
    assert parts(plain, german).coherence < 0.5


def test_code_that_does_not_parse_has_not_the_form() -> None:
    prompt = "Write a Python function `twice(x)` that doubles a number."
    good, bad = "```python\ndef twice(x):\n    return 2 * x\n```", "```python\ndef twice(x)\n    return 2 * x\n```"
    assert parts(prompt, good).form == 1.0
    assert parts(prompt, bad).form < 0.5  # type: ignore[operator]
    assert parts(prompt, "You could multiply it by two.").form < 0.5  # type: ignore[operator]
    assert parts(prompt, good.removesuffix("```")).completeness < 0.5
    javascript = "```javascript\nconst twice = (x) => { return 2 * x; }\n```"
    assert parts("Write a JavaScript function that doubles a number.", javascript).form == 1.0
    assert parts("Write a JavaScript function that doubles a number.", javascript.replace("; }", "")).form == 0.4


def test_json_is_parsed_and_held_to_its_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "kwh": {"type": "number", "minimum": 0}},
        "required": ["name", "kwh"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "meter", "schema": schema}}
    prompt = "Read the meter of the depot: 212.5 kWh."
    fit = json.dumps({"name": "depot", "kwh": 212.5})
    assert parts(prompt, fit, form=form).form == 1.0
    assert parts(prompt, f"```json\n{fit}\n```", form=form).form == 1.0
    assert parts(prompt, f"Here you are:\n```json\n{fit}\n```", form=form).form == 0.8
    assert 0 < parts(prompt, '{"name": "depot"}', form=form).form < 0.6  # type: ignore[operator]
    assert parts(prompt, fit[:-5], form=form).form == 0.0
    assert parts(prompt, "The depot has used 212.5 kWh.", form={"type": "json_object"}).form == 0.0
    assert parts(prompt, fit, form=form).score > 2 * parts(prompt, fit[:-5], form=form).score * 0.8


def test_a_schema_refers_to_itself_and_offers_choices() -> None:
    tree = {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [
        {"$ref": "#/$defs/node"}, {"type": "null"}]}, "n": {"type": "integer"}}, "required": ["n"]}}}  # fmt: skip
    assert fits({"n": 1, "next": {"n": 2, "next": None}}, tree) == 1.0
    assert fits({"n": 1, "next": {"m": 2}}, tree) < 0.6
    assert fits(True, {"type": "integer"}) < 0.6
    assert fits("red", {"enum": ["red", "green"]}) == 1.0
    assert fits("blue", {"enum": ["red", "green"]}) < 0.6
    assert fits([1, 2, 3], {"type": "array", "items": {"type": "integer"}, "maxItems": 2}) < 0.6
    loop = {"$ref": "#"}
    assert fits(1, loop) in (0.0, 1.0)


def test_a_table_and_a_bound_of_words_are_forms() -> None:
    prompt = "Show the sites as a table."
    assert parts(prompt, "| site | kWh |\n|---|---|\n| depot | 3 |").form == 1.0
    assert parts(prompt, "The depot used 3 kWh.").form == 0.1
    short = "Describe the depot in at most 10 words."
    assert parts(short, "A brick depot with two gates and a crane.").form == 1.0
    assert parts(short, " ".join(["A brick depot with two gates and a crane."] * 4)).form < 0.5  # type: ignore[operator]
    assert parts("What is 7 * 6? Only the number.", "42").form == 1.0
    wordy = "If one takes seven and multiplies it by six, then one arrives at the number that is called 42."
    assert parts("What is 7 * 6? Only the number.", wordy).form < 0.6  # type: ignore[operator]


def test_sentences_are_told_from_filler_and_repetition() -> None:
    shown = read(f"{SENTENCE} {SENTENCE} In general, it is important to keep this in mind. The gate is green.")
    assert (len(shown.fresh), shown.sentences, shown.ends) == (2, 4, True)
    assert shown.waste == 13 + 10
    # Sentences that run into each other are two, and one of them broke off.
    fused = read("To open the gate one first has to There are many things that one could say here.")
    assert (fused.sentences, fused.broken) == (2, 1)
    assert read("Yes.").fresh == [{"yes"}]
    assert read("- one\n- two\n- two").items == 2
    assert not read("To open the gate one first has to").ends
    assert read("sea, to cry, cherry, trousers, roof, door, lamp").ends


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_task_is_read_without_a_scratch(kind: str) -> None:
    rng = Random(5)
    right = wrong = 0.0
    for _ in range(40):
        task = KINDS[kind].draw(rng, rng.choice(("simple", "complex")))
        right += score_text(task.prompt, closed_answer(task, True, rng))
        wrong += score_text(task.prompt, closed_answer(task, False, rng))
    assert right / 40 > 0.6
    assert right > wrong
