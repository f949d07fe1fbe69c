"""The models there are: what each costs, can do, and is believed to be good at before anything was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.usage import Usage

CAPABILITIES = (
    "chat", "embeddings", "stream", "tools", "json", "json_schema", "vision", "audio", "documents", "reasoning",
    "code", "long_context",
)  # fmt: skip

# Kinds of task that quality is told by; see `gateway.choose.task`.
DOMAINS = (
    "code", "math", "reasoning", "analysis", "writing", "translation", "summary", "extraction", "conversation",
    "knowledge",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Price:
    """What tokens cost, in nanos (billionths of a dollar) each.

    `cached` and the like fall back to the price of what they are a part of. A call is rounded once, half to even.

    Attributes
    ----------
    request : for the call itself.
    cache_write_hour : of what is written to a cache for an hour; as `cache_write` where there is none.
    tiers : (tokens of input, price), most tokens first: a call with more input than that is priced so as a whole.
    """

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    audio_input: float | None = None
    audio_output: float | None = None
    request: float = 0.0
    tiers: tuple[tuple[int, Price], ...] = ()
    cache_write_hour: float | None = None

    def cost(self, usage: Usage) -> int:
        """Nanos for what a call used."""
        for above, price in self.tiers:
            if usage.input > above:
                return price.cost(usage)
        amount = self.request
        plain = usage.input
        if part := usage.cached:
            plain -= part
            amount += part * (self.input if self.cached is None else self.cached)
        if part := usage.cache_write:
            plain -= part
            if (hour := usage.cache_write_hour) and self.cache_write_hour is not None:
                part -= hour
                amount += hour * self.cache_write_hour
            amount += part * (self.input if self.cache_write is None else self.cache_write)
        if part := usage.audio_input:
            plain -= part
            amount += part * (self.input if self.audio_input is None else self.audio_input)
        if plain > 0:
            amount += plain * self.input
        plain = usage.output
        if part := usage.reasoning:
            plain -= part
            amount += part * (self.output if self.reasoning is None else self.reasoning)
        if part := usage.audio_output:
            plain -= part
            amount += part * (self.output if self.audio_output is None else self.audio_output)
        if plain > 0:
            amount += plain * self.output
        return round(amount)


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a model can be tuned.

    Attributes
    ----------
    name : as the provider's fine-tuning API calls it.
    training : nanos for each token that is trained on, in each epoch.
    price : of calls to a tuned model.
    longest : most tokens of an example.
    """

    name: str
    training: float
    price: Price
    longest: int = 65_536


@dataclass(frozen=True, slots=True)
class Model:
    """One model of one provider.

    Attributes
    ----------
    id : `provider/name`, unique.
    provider : its name in providers.toml.
    name : as the provider calls it.
    kind : "chat" or "embeddings".
    context : tokens of prompt and answer together.
    max_output : most tokens of an answer.
    capabilities : a subset of `CAPABILITIES`.
    local : runs on the own machines; a prompt to it leaves nothing.
    region : where the provider keeps data, as configured: "eu", "us"; None: not known.
    quality : prior quality 0 to 1 by domain, `""` for every other; what is learned overrules it.
    latency_ms : prior milliseconds to the first token.
    tokens_per_second : prior speed after it.
    tuning : how it can be tuned; None: it cannot, as far as is known.
    workspaces : a tuned model has learned from their words, and answers nobody else; None: everybody.
    trial : a tuned model whose evaluation alone asks it.
    """

    id: str
    provider: str
    name: str
    kind: str = "chat"
    context: int = 128_000
    max_output: int = 16_384
    capabilities: frozenset[str] = frozenset({"chat", "stream"})
    price: Price = Price()
    local: bool = False
    region: str | None = None
    quality: Mapping[str, float] = field(default_factory=lambda: {"": 0.5})
    latency_ms: float = 500.0
    tokens_per_second: float = 60.0
    tuning: Tuning | None = None
    workspaces: frozenset[str] | None = None
    trial: bool = False

    @property
    def restricted(self) -> bool:
        """Whether there is somebody whom it does not answer."""
        return self.trial or self.workspaces is not None

    def expected_quality(self, domain: str) -> float:
        """Prior quality for a domain."""
        return self.quality.get(domain, self.quality.get("", 0.5))

    def expected_ms(self, output_tokens: float) -> float:
        """Prior milliseconds until an answer of so many tokens is whole."""
        return self.latency_ms + 1000.0 * output_tokens / self.tokens_per_second
