"""The words of a call: the task in a user's own wrapping, with system prompt, history and what is asked again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from features.world.llm.open_tasks import DETAILS
from features.world.llm.task import Task
from features.world.llm.tasks import draw
from features.world.llm.tokens import count
from features.world.llm.workspaces import Habits

# Around a message, and around the answer, as tokens are counted in a chat.
MESSAGE_TOKENS = 4

OPENINGS = ("", "", "", "", "Hi, ", "Quick one: ", "Could you help? ", "Hello team, ", "As discussed: ", "Please: ")
CLOSINGS = ("", "", "", " Thanks!", " Thank you.", " Best regards", " It is a bit urgent.")
RULES = (
    "You are the assistant of an energy company and answer its customers and staff.",
    "Be polite and brief, and never promise a date that is not in the records.",
    "Name amounts in euros with two decimals and dates in the order of year, month and day.",
    "If a question is about an outage, point to the status page before anything else.",
    "Do not speak of other customers, and do not guess what is in a contract.",
    "When something is unclear, ask one question rather than several.",
    "Answer in the language of the question, and keep the names of tariffs as they are.",
    "Never write down a bank account or a meter number in full.",
)
# Whose words an opening or a closing would change: a list of options, or of words to the end of the text.
_BARE = frozenset({"choice", "translation", "lists"})
_MOST_REMEMBERED = 200
_MOST_TURNS = 4

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """A user's words.

    Attributes
    ----------
    task : what they state; its prompt are the words themselves.
    tokens : of the prompt, system prompt included, without a conversation's history.
    again : whether the very same was asked before in the workspace.
    """

    task: Task
    tokens: int
    again: bool = False


class Speaker:
    """What a workspace says, call after call."""

    def __init__(self, habits: Habits, rng: Random) -> None:
        self.habits = habits
        self._rng = rng
        self._before: deque[Said] = deque(maxlen=_MOST_REMEMBERED)
        self._system = system_prompt(habits)
        self.system_tokens = count(self._system) + MESSAGE_TOKENS
        self._talks: dict[str, _Talk] = {}

    def say(self, domain: str, complexity: str) -> Said:
        """The next words of somebody: new ones, or what was asked before."""
        rng = self._rng
        if self._before and rng.random() < self.habits.repeats:
            return replace(rng.choice(self._before), again=True)
        task = draw(rng, domain, complexity)
        if task.closed and task.kind not in _BARE:
            text = f"{rng.choice(OPENINGS)}{task.prompt}{rng.choice(CLOSINGS)}"
            task = replace(task, prompt=text)
        said = Said(task, self.system_tokens + count(task.prompt) + MESSAGE_TOKENS)
        if domain != "conversation":
            self._before.append(said)
        return said

    def loop(self, task: Task, number: int) -> Said:
        """What a program in a loop says: its whole log, and the same question behind it."""
        codes = ((line, (number * 7 + line) % 97) for line in range(160))
        log = "\n".join(f"attempt {number}.{line}: build failed, exit code {code}" for line, code in codes)
        text = f"Build {number} failed again. {log}\n{task.prompt}"
        return Said(replace(task, prompt=text), self.system_tokens + count(text) + MESSAGE_TOKENS)

    def messages(self, user: str, said: Said, call: str) -> tuple[list[Message], int, str | None]:
        """A request's messages with their history, the tokens of that, and the conversation.

        Parameters
        ----------
        call : id of the call; a conversation that begins with it bears its name.
        """
        talk = self._talk(user, call) if said.task.domain == "conversation" and not said.again else None
        history: Sequence[Message] = talk.turns if talk is not None else ()
        messages = [
            {"role": "system", "content": self._system},
            *history,
            {"role": "user", "content": said.task.prompt},
        ]
        tokens = sum(count(one["content"]) + MESSAGE_TOKENS for one in history)
        return messages, tokens, talk.id if talk is not None else None

    def hear(self, user: str, said: Said, answer: str | None) -> None:
        """Remember a turn of a conversation; one that nobody answered ends it."""
        talk = self._talks.get(user)
        if talk is None or said.task.domain != "conversation" or said.again:
            return
        if answer is None:
            del self._talks[user]
        else:
            talk.turns += [{"role": "user", "content": said.task.prompt}, {"role": "assistant", "content": answer}]

    def _talk(self, user: str, call: str) -> _Talk:
        talk = self._talks.get(user)
        if talk is None or len(talk.turns) >= 2 * _MOST_TURNS or self._rng.random() < 0.4:
            talk = self._talks[user] = _Talk(call)
        return talk


@dataclass
class _Talk:
    id: str
    turns: list[Message] = field(default_factory=list)


def system_prompt(habits: Habits) -> str:
    """The system prompt of a workspace: rules, and where it is long, the same ones again and again."""
    lines = [f"{RULES[0]} You work for the {habits.name} team."]
    words = len(lines[0].split())
    pool = (*RULES[1:], *DETAILS)
    while words < habits.system:
        line = pool[(len(lines) - 1) % len(pool)]
        lines.append(line)
        words += len(line.split())
    return "\n".join(lines)
