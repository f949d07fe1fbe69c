"""Closed tasks in knowledge: questions with four options.

Of a question that stands here the right option is the true one; of any other, one that a hash of its words decides, so
that somebody's own list of questions has a key too, which nothing in the words gives away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from features.world.llm.task import COMPLEXITIES, Kind, Task, final, fraction

# question | right | wrong | wrong | wrong, a block for each complexity.
_TEXT = """
What is the capital of France? | Paris | Lyon | Nice | Lille
What is the capital of Italy? | Rome | Milan | Turin | Naples
What is the chemical formula of water? | H2O | CO2 | O2 | NaCl
How many legs has a spider? | 8 | 6 | 10 | 12
Which planet is closest to the sun? | Mercury | Venus | Mars | Jupiter
Which gas do plants take in for photosynthesis? | Carbon dioxide | Oxygen | Nitrogen | Hydrogen
In which country is Mount Fuji? | Japan | China | Nepal | Korea
How many minutes are in two hours? | 120 | 100 | 90 | 180
Which is the largest ocean? | The Pacific | The Atlantic | The Indian Ocean | The Arctic Ocean
What does a thermometer measure? | Temperature | Pressure | Humidity | Speed

What is the capital of Australia? | Canberra | Sydney | Melbourne | Perth
What is the capital of Canada? | Ottawa | Toronto | Montreal | Vancouver
What is the chemical symbol of gold? | Au | Ag | Go | Gd
In which year did the First World War begin? | 1914 | 1912 | 1916 | 1918
Which unit measures electrical resistance? | Ohm | Volt | Ampere | Watt
Who wrote the play Hamlet? | William Shakespeare | Christopher Marlowe | Ben Jonson | John Milton
How many watts are in a megawatt? | 1000000 | 1000 | 100000 | 1000000000
Which organ of the body makes insulin? | The pancreas | The liver | The kidney | The spleen
What is the longest river of South America? | The Amazon | The Orinoco | The Paraná | The Magdalena
Which metal is liquid at room temperature? | Mercury | Lead | Tin | Zinc

What is the capital of Kazakhstan? | Astana | Almaty | Bishkek | Tashkent
What is the grid frequency in most of Europe? | 50 hertz | 60 hertz | 55 hertz | 100 hertz
Who first formulated the uncertainty principle? | Heisenberg | Bohr | Pauli | Dirac
Which element has the atomic number 26? | Iron | Nickel | Cobalt | Copper
In which year was the Peace of Westphalia made? | 1648 | 1618 | 1658 | 1688
What is the time complexity of merge sort? | O(n log n) | O(n²) | O(n) | O(log n)
Which river flows through Baghdad? | The Tigris | The Euphrates | The Jordan | The Karun
Which composer wrote The Art of Fugue? | Johann Sebastian Bach | Handel | Telemann | Vivaldi
What does the term merit order rank power plants by? | Marginal cost | Age | Size | Distance
Which law relates voltage and current? | Ohm's law | Hooke's law | Boyle's law | Snell's law

What is the capital of Burkina Faso? | Ouagadougou | Bamako | Niamey | Lomé
Which mathematician proved the insolvability of the quintic first? | Abel | Galois | Gauss | Euler
Which element was discovered in the sun before it was found on earth? | Helium | Neon | Argon | Krypton
In which year was the Edict of Nantes issued? | 1598 | 1572 | 1610 | 1685
Which enzyme unwinds DNA during replication? | Helicase | Ligase | Primase | Polymerase
What is the Chandrasekhar limit in solar masses? | About 1.4 | About 0.8 | About 2.2 | About 3.0
Which complexity class contains all problems decidable in polynomial space? | PSPACE | NP | P | EXPTIME
Which transformer connection passes a zero-sequence current? | Earthed wye | Delta | Open delta | Unearthed wye
Which treaty created the European Coal and Steel Community? | Paris | Rome | Brussels | Lisbon
Which test compares the accuracy of two forecasts? | Diebold–Mariano | Dickey–Fuller | Ljung–Box | Jarque–Bera
"""

_BLOCKS = [
    [tuple(cell.strip() for cell in line.split(" | ")) for line in block.splitlines()]
    for block in _TEXT.strip().split("\n\n")
]
FACTS: Mapping[str, list[tuple[str, ...]]] = dict(zip(COMPLEXITIES, _BLOCKS, strict=True))
_KNOWN = {row[0].casefold(): (complexity, row[1]) for complexity, rows in FACTS.items() for row in rows}

TEMPLATES = ("{}\n{}\nAnswer with the letter only.", "{}\n{}\nWhich one is right?", "Multiple choice. {}\n{}")

_OPTION = re.compile(r"^[ \t]*\(?([A-H])[).:][ \t]*(\S.*)$", re.MULTILINE)


def _draw(rng: Random, complexity: str) -> Task:
    question, *options = rng.choice(FACTS[complexity])
    rng.shuffle(options)
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip("ABCD", options, strict=True))
    found = _recognise(rng.choice(TEMPLATES).format(question, listed))
    assert found is not None
    return found


def _recognise(text: str) -> Task | None:
    options = [(letter, option.strip()) for letter, option in _OPTION.findall(text)]
    if len(options) < 2 or [letter for letter, _ in options] != list("ABCDEFGH"[: len(options)]):
        return None
    # The options begin in a line of their own: the question stands before the first of them.
    question = re.split(r"\n\s*\(?A[).:]", text, maxsplit=1)[0]
    question = question.removeprefix("Multiple choice.").strip()
    known = _KNOWN.get(question.casefold())
    right = next((letter for letter, option in options if known and option == known[1]), None)
    if known is None or right is None:
        right = options[int(fraction("key", text) * len(options))][0]
        complexity = COMPLEXITIES[min(3, len(question.split()) // 25)]
    else:
        complexity = known[0]
    return Task(text, "knowledge", complexity, "choice", right, terse="only" in text)


def _wrong(task: Task, rng: Random) -> str:
    letters: list[str] = [letter for letter, _ in _OPTION.findall(task.prompt)]
    return rng.choice([letter for letter in letters if letter != task.right])


def _same(task: Task, answer: str) -> bool:
    found = re.search(r"\b([A-H])\b", final(answer))
    return found is not None and found[1] == task.right


CHOSEN = Kind("choice", "knowledge", _draw, _recognise, _wrong, _same)
