"""Seeded tables of outcomes that look like those of public benchmarks: several data sets with words and a form of their
own, eleven models over two orders of magnitude in price, scores that are right or wrong or graded.

What a table holds beside chance: the ability of a model, how it does in a data set and in a subject of it, models that
fail at a form of question, a prompt's difficulty, a small part of which its words tell, and lengths of answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

MODELS = {
    # dollars per million tokens of input and output, ability, words where others need one
    "small-7b": (0.15, 0.2, -0.9, 1.2),
    "mid-13b": (0.25, 0.3, -0.6, 1.3),
    "code-34b": (0.7, 0.7, -0.7, 1.1),
    "mix-8x7b": (0.5, 0.6, 0.25, 1.1),
    "yi-34b": (0.7, 0.8, 0.45, 0.9),
    "llama-70b": (0.8, 0.9, 0.1, 1.5),
    "turbo": (1.0, 2.0, 0.35, 0.8),
    "instant": (0.8, 2.4, 0.3, 1.0),
    "claude-1": (8.0, 24.0, 0.6, 1.0),
    "claude-2": (8.0, 24.0, 0.7, 1.1),
    "large-4": (10.0, 30.0, 1.9, 0.9),
}


@dataclass(frozen=True)
class Kind:
    """A data set: how its prompts look, how hard they are, what an answer takes."""

    name: str
    share: float
    form: str
    subjects: int
    hard: float
    floor: float
    answer: float
    words: tuple[int, int]
    reversals: float = 0.5
    told: float = 0.35


KINDS = (
    Kind("knowledge", 0.38, "choice", 40, -0.2, 0.25, 6, (12, 60)),
    Kind("endings", 0.26, "choice", 1, 0.1, 0.25, 6, (30, 90), 0.9),
    Kind("arithmetic", 0.18, "problem", 1, 0.3, 0.0, 120, (25, 80), 0.5, 0.5),
    Kind("science", 0.05, "choice", 2, -0.6, 0.25, 6, (10, 40)),
    Kind("pronouns", 0.04, "blank", 1, 0.5, 0.5, 4, (12, 25), 0.7),
    Kind("programs", 0.02, "code", 1, 0.2, 0.0, 150, (15, 60), 0.8),
    Kind("chat", 0.02, "chat", 8, -0.8, 0.0, 300, (8, 120), 0.3),
    Kind("classics", 0.05, "script", 6, 0.9, 0.25, 6, (15, 40), 0.9),
)

_LETTERS = np.array(list("abcdefghijklmnoprstuvw"))


def table(seed: int = 0, rows: int = 12_000, *, models: int = 11, noise: float = 1.0) -> pd.DataFrame:
    """A table: `prompt`, `group` (the data set), `subject`, `<model>|score`, `<model>|cost`, shuffled.

    Parameters
    ----------
    noise : of the difficulty that no word tells, in log-odds.
    """
    draw = np.random.default_rng(seed)
    names = list(MODELS)[:models] if models <= len(MODELS) else list(MODELS)
    ability = np.array([MODELS[name][2] for name in names])
    price = np.array([MODELS[name][:2] for name in names]) / 1e6
    wordy = np.array([MODELS[name][3] for name in names])
    common = _vocabulary(draw, 600)
    parts = []
    for kind in KINDS:
        count = max(20, round(kind.share * rows))
        subject = draw.choice(kind.subjects, count, p=_zipf(kind.subjects, 0.4))
        own = [_vocabulary(draw, 220) for _ in range(kind.subjects)]
        topic = _vocabulary(draw, 300)
        hard_subject = draw.normal(0, 0.5, kind.subjects)
        form = draw.normal(0, kind.reversals, len(names))
        # A model that cannot cope with a form answers next to nothing right.
        form[(draw.random(len(names)) < 0.09) & (ability < 1.5)] -= 2.2
        skill = ability + form + draw.normal(0, 0.3, (kind.subjects, len(names)))
        length = draw.integers(*kind.words, count)
        steps = draw.poisson(2.5, count) + 1
        rare = draw.beta(2, 4, count)
        of_steps = 0.8 * (steps - 3.5) / 1.6 * (kind.form == "problem")
        told = kind.told * (np.log(length) - np.log(np.mean(kind.words)) + of_steps + 3.0 * (rare - 1 / 3))
        hard = kind.hard + hard_subject[subject] + told + draw.normal(0, noise, count)
        chance = 1 / (1 + np.exp(-1.6 * (skill[subject] - hard[:, None])))
        chance = kind.floor + (1 - kind.floor) * chance
        if kind.form == "chat":
            score = np.clip(np.round(10 * (0.3 + 0.65 * chance) + draw.normal(0, 0.8, chance.shape)), 1, 10) / 10
        else:
            score = (draw.random(chance.shape) < chance).astype(float)
        prompts = [
            _prompt(kind, own[subject[i]], topic, common, int(length[i]), int(steps[i]), float(rare[i]), draw)
            for i in range(count)
        ]
        asked = np.array([len(text) / 4.2 for text in prompts])
        answer = kind.answer * wordy * np.exp(draw.normal(0, 0.35, chance.shape)) * (1 + 0.25 * told[:, None])
        cost = asked[:, None] * price[:, 0] + np.maximum(answer, 1) * price[:, 1]
        part = pd.DataFrame(
            {"prompt": prompts, "group": kind.name, "subject": [f"{kind.name}-{one}" for one in subject]}
        )
        for column, name in enumerate(names):
            part[f"{name}|score"] = score[:, column]
            part[f"{name}|cost"] = cost[:, column]
        parts.append(part)
    whole = pd.concat(parts, ignore_index=True)
    return whole.iloc[draw.permutation(len(whole))].reset_index(drop=True)


def _vocabulary(draw: np.random.Generator, count: int) -> list[str]:
    return ["".join(draw.choice(_LETTERS, draw.integers(3, 10))) for _ in range(count)]


def _zipf(count: int, power: float) -> np.ndarray:
    weights = 1.0 / (1 + np.arange(count)) ** power
    return weights / weights.sum()


def _words(
    draw: np.random.Generator, count: int, pools: tuple[list[str], ...], shares: tuple[float, ...], rare: float
) -> list[str]:
    which = draw.choice(len(pools), count, p=shares)
    # Rare words are those at the end of a vocabulary.
    place = draw.beta(0.6 + 2.0 * rare, 2.4, count)
    return [pools[pool][int(at * (len(pools[pool]) - 1))] for pool, at in zip(which, place, strict=True)]


def _prompt(
    kind: Kind,
    own: list[str],
    topic: list[str],
    common: list[str],
    length: int,
    steps: int,
    rare: float,
    draw: np.random.Generator,
) -> str:
    words = _words(draw, length, (own, topic, common), (0.22, 0.18, 0.6), rare)
    if kind.form == "choice":
        options = [" ".join(_words(draw, 4, (own, common), (0.5, 0.5), rare)) for _ in range(4)]
        lines = "\n".join(f"{letter}) {option}" for letter, option in zip("ABCD", options, strict=True))
        asked = f"{' '.join(words)}?\n{lines}"
        return f"Please answer with the letter of the correct answer.\n\n{asked}\nPrint only a single choice."
    if kind.form == "problem":
        for _ in range(steps):
            words.insert(int(draw.integers(0, len(words))), str(draw.integers(2, 900)))
        return f"Solve the following math problem step by step.\n\n{' '.join(words)}. How many {words[-1]} are left?"
    if kind.form == "blank":
        words[len(words) // 2] = "_"
        return f"Fill in the blank: {' '.join(words)}.\n1) {own[0]}\n2) {own[1]}"
    if kind.form == "code":
        checked = f"assert {words[0]}({draw.integers(9)}) == {draw.integers(9)}"
        return f"Write a python function to {' '.join(words)}.\n{checked}"
    if kind.form == "script":
        text = "".join(
            chr(0x4E00 + sum(map(ord, word)) * 7 % 5_000) + chr(0x4E00 + len(word) * 311 % 5_000) for word in words
        )
        options = [text[3:7], text[8:12], text[1:5], text[5:9]]
        lines = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True))
        return f"以下是单项选择题，请直接给出正确答案的选项。\n{text}\n{lines}"
    return " ".join(words).capitalize() + "?"
