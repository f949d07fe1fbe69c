"""What a wire format promises: requests made from OpenAI's shape, answers and streams turned back into it.

The gateway thinks in OpenAI's shape. A provider that speaks it gets the caller's body as it came, but for the model's
name; for the others there is one file each, and nothing outside this folder knows them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gateway.prompt import Prompt
from gateway.usage import Usage

FailureKind = Literal[
    "connect",      # no connection: refused, no such host, TLS
    "timeout",      # the deadline of the attempt passed
    "stalled",      # a stream that began and then said nothing for too long
    "closed",       # the connection ended before the answer did
    "malformed",    # not what the wire format says
    "overloaded",   # 429
    "server",       # 500 to 599
    "credentials",  # 401, 403: the gateway's own key
    "unknown_model",  # 404 for the model
    "too_long",     # the prompt does not fit into the model's context
    "refused",      # 400, 422: the request itself is wrong
]  # fmt: skip

# What another attempt, here or with another model, can mend.
RETRIABLE: frozenset[FailureKind] = frozenset(
    {"connect", "timeout", "stalled", "closed", "malformed", "overloaded", "server"}
)
# What another model can mend, but not the same one.
ELSEWHERE: frozenset[FailureKind] = RETRIABLE | {"credentials", "unknown_model", "too_long"}


class ProviderFailure(Exception):
    """An attempt that failed. `message` never holds a key or an address with one.

    Attributes
    ----------
    status : of the provider's answer, where there was one.
    retry_after : seconds, as the provider asked for.
    sent : whether the request reached the provider, so that it may have cost something.
    body : the provider's own error as JSON, redacted and shortened; for the caller when `kind` is "refused".
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        sent: bool = True,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.sent = sent
        self.body = body


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider as configured.

    Attributes
    ----------
    wire : "openai", "anthropic" or "gemini".
    base_url : without a trailing slash; from the configuration alone, never from a caller.
    key : from the environment, read when the configuration was loaded; None where none is needed. Never printed.
    headers : sent with every request.
    local : its address may lie in the own network. Whether a prompt leaves the own machines is told by `Model.local`.
    timeout_s : for the whole answer; `first_byte_s` until it begins, `stall_s` between two pieces of a stream.
    on_disconnect : "cancel" closes the upstream connection when the client has gone; "drain" reads on where a provider
        bills the whole answer anyway.
    probe : whether it may be asked for its models now and then, to see whether it is alive.
    """

    name: str
    wire: str
    base_url: str
    key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    local: bool = False
    region: str | None = None
    timeout_s: float = 120.0
    connect_s: float = 5.0
    first_byte_s: float = 60.0
    stall_s: float = 30.0
    concurrency: int = 256
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    probe: bool = True


@dataclass(slots=True)
class Answer:
    """A whole answer.

    Attributes
    ----------
    body : in OpenAI's shape (`chat.completion` or an embeddings list), as the provider sent it where it speaks that.
    usage : None when the provider told none.
    native : the provider's own body where its wire format is the caller's, not OpenAI's.
    """

    body: dict[str, Any]
    usage: Usage | None
    finish_reason: str | None = None
    native: dict[str, Any] | None = None


@dataclass(slots=True)
class Piece:
    """A part of a streamed answer.

    Attributes
    ----------
    chunk : a `chat.completion.chunk` in OpenAI's shape; None for what carries nothing but `usage` or `native`.
    usage : when the provider told it with this piece; it may come on any piece, and the last one told counts.
    native : (event, data) in the provider's own format where its wire format is the caller's, not OpenAI's.
    """

    chunk: dict[str, Any] | None
    usage: Usage | None = None
    native: Sequence[tuple[str, dict[str, Any]]] = ()


class Wire(Protocol):
    """One wire format, spoken over a shared HTTP client. Every method raises `ProviderFailure` and nothing else
    (besides `asyncio.CancelledError`, on which it closes the upstream connection at once).

    Parameters of every method
    --------------------------
    model : the name that the provider knows.
    prompt : its body is not changed.
    timeout_s : seconds left for the whole answer; never more than the provider's own.
    """

    async def complete(self, provider: Provider, model: str, prompt: Prompt, timeout_s: float) -> Answer:
        """Ask for a whole answer."""

    def stream(
        self, provider: Provider, model: str, prompt: Prompt, timeout_s: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        """Ask for an answer piece by piece.

        Entering waits until the provider's answer has begun (status and headers). The iterator ends after the
        provider's own end of stream, and raises `closed` where the connection ended without one.
        """

    async def embed(self, provider: Provider, model: str, prompt: Prompt, timeout_s: float) -> Answer:
        """Ask for embeddings."""

    async def models(self, provider: Provider, timeout_s: float) -> list[str]:
        """Names of the models that the provider offers; also the probe that tells whether it is alive."""


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Providers and how to speak to them; replaced as a whole when the configuration is read anew."""

    providers: Mapping[str, Provider]
    wires: Mapping[str, Wire]

    def of(self, name: str) -> tuple[Provider, Wire]:
        """A provider, and what speaks its format."""
        provider = self.providers[name]
        return provider, self.wires[provider.wire]
