"""Who calls models in the demo world: workspaces with their tasks, habits and users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ORGANISATION = "merit-energy"

# Share of a day's calls in each of its hours.
OFFICE = (0, 0, 0, 0, 0, 0, 1, 4, 8, 10, 11, 10, 7, 8, 10, 10, 9, 7, 3, 1, 1, 0, 0, 0)
LONG_DAY = (1, 1, 0, 0, 0, 1, 2, 4, 6, 8, 8, 8, 7, 7, 7, 7, 7, 7, 6, 6, 5, 4, 3, 2)
NIGHT = (6, 14, 16, 12, 6, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 4)


@dataclass(frozen=True)
class Habits:
    """A workspace.

    Attributes
    ----------
    share : of all calls, before growth.
    growth : factor over 90 days.
    begins : share of the period that is over before it begins to call.
    weekend : calls on a Saturday or Sunday, relative to a weekday.
    users : how many people there are; the first ones call most.
    tasks : domain → share.
    complexity : shares of simple, moderate, complex and expert tasks.
    asks : what stands in the field `model` → share.
    system : words of the system prompt, about.
    repeats : share of calls whose prompt was asked before.
    streams : share of calls that are streamed.
    keep : what the workspace keeps of prompts and answers.
    feedback : share of answers that somebody judges.
    embeddings : share of calls that ask for vectors.
    """

    name: str
    share: float
    tasks: Mapping[str, float]
    complexity: tuple[float, float, float, float]
    users: int
    project: str | None = None
    growth: float = 1.3
    begins: float = 0.0
    weekend: float = 0.1
    hours: tuple[int, ...] = OFFICE
    asks: Mapping[str, float] = field(default_factory=lambda: {"auto": 1.0})
    system: int = 30
    repeats: float = 0.02
    streams: float = 0.5
    keep: str = "plain"
    feedback: float = 0.2
    embeddings: float = 0.0
    local_only: bool = False


WORKSPACES = (
    Habits(
        *("support", 0.30),
        {"conversation": 0.42, "knowledge": 0.2, "summary": 0.14, "translation": 0.14, "extraction": 0.1},
        (0.58, 0.3, 0.1, 0.02),
        users=26,
        weekend=0.55,
        hours=LONG_DAY,
        growth=1.5,
        asks={"auto": 0.9, "fastest": 0.1},
        system=160,
        repeats=0.22,
        streams=0.8,
    ),
    Habits(
        *("engineering", 0.22),
        {"code": 0.6, "reasoning": 0.14, "math": 0.08, "analysis": 0.1, "knowledge": 0.08},
        (0.28, 0.36, 0.25, 0.11),
        users=18,
        project="portal",
        growth=1.6,
        asks={"auto": 0.8, "simulated/coder": 0.08, "best": 0.12},
        feedback=0.25,
    ),
    Habits(
        *("marketing", 0.12),
        {"writing": 0.66, "translation": 0.2, "summary": 0.08, "conversation": 0.06},
        (0.45, 0.35, 0.16, 0.04),
        users=9,
        # Somebody once wrote the dearest model into the code.
        asks={"simulated/large": 0.55, "auto": 0.45},
        system=60,
        growth=1.1,
    ),
    Habits(
        *("analytics", 0.12),
        {"analysis": 0.34, "math": 0.2, "extraction": 0.2, "summary": 0.16, "reasoning": 0.1},
        (0.25, 0.35, 0.28, 0.12),
        users=7,
        project="forecast-desk",
        growth=1.2,
    ),
    Habits(
        *("metering", 0.1),
        {"extraction": 0.7, "math": 0.2, "summary": 0.1},
        (0.5, 0.32, 0.14, 0.04),
        users=3,
        hours=NIGHT,
        weekend=0.9,
        streams=0.0,
        feedback=0.06,
        embeddings=0.3,
        asks={"auto": 0.6, "cheapest": 0.4},
        keep="nothing",
    ),
    Habits(
        *("field-service", 0.06),
        {"translation": 0.4, "extraction": 0.3, "conversation": 0.3},
        (0.6, 0.3, 0.09, 0.01),
        users=14,
        weekend=0.4,
        hours=LONG_DAY,
        asks={"private": 1.0},
        local_only=True,
    ),
    Habits(
        *("research", 0.05),
        {"reasoning": 0.4, "math": 0.28, "analysis": 0.2, "code": 0.12},
        (0.1, 0.25, 0.35, 0.3),
        users=4,
        asks={"auto": 0.75, "best": 0.25},
        feedback=0.3,
    ),
    Habits(
        *("legal", 0.06),
        {"summary": 0.45, "analysis": 0.3, "extraction": 0.15, "knowledge": 0.1},
        (0.3, 0.35, 0.25, 0.1),
        users=5,
        begins=0.25,
        growth=2.4,
        system=1_000,
        keep="nothing",
        feedback=0.12,
    ),
)

RUNAWAY_WORKSPACE = "engineering"
RUNAWAY_USER = "engineering-user-07"
RUNAWAY_MODEL = "simulated/large"


def user_name(workspace: Habits, number: int) -> str:
    return f"{workspace.name}-user-{number + 1:02d}"
