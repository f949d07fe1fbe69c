"""What a call used, in tokens, whichever provider counted them.

Every provider counts differently: some include cached tokens in the input, some do not; some count reasoning within
the output. Here `input` and `output` are totals and the other numbers are parts of them, so that nothing is priced
twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields


# Not frozen, as nothing that every call makes: it would take ten times as long to make.
@dataclass(slots=True)
class Usage:
    """Tokens of one call.

    Attributes
    ----------
    input : all tokens of the prompt, the cached ones, those written to a cache and audio among them.
    cached : of `input`, read from the provider's prompt cache.
    cache_write : of `input`, written to it.
    output : all tokens of the answer, reasoning and audio among them.
    reasoning : of `output`, thought and not shown.
    audio_input, audio_output : of `input` and `output`.
    estimated : the provider told nothing; counted here.
    cache_write_hour : of `cache_write`, kept for an hour rather than minutes.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    estimated: bool = False
    cache_write_hour: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output

    @classmethod
    def together(cls, parts: Iterable[Usage]) -> Usage:
        """What several calls used together; estimated where any of them is."""
        every = tuple(parts)
        sums = {one.name: sum(getattr(part, one.name) for part in every) for one in fields(cls)}
        return cls(**{**sums, "estimated": any(part.estimated for part in every)})

    def as_openai(self) -> dict[str, object]:
        """The `usage` object of an OpenAI answer."""
        return {
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.total,
            "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": self.audio_input},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning, "audio_tokens": self.audio_output},
        }
