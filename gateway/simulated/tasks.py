"""Realistic prompts by domain and complexity, with their answers where they have one."""

from __future__ import annotations

from features.world.llm.task import COMPLEXITIES, Task
from features.world.llm.tasks import DOMAINS, draw, generate, recognise

__all__ = ["COMPLEXITIES", "DOMAINS", "Task", "draw", "generate", "recognise"]
