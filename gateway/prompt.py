"""What is asked of the gateway: the request in OpenAI's shape, who pays for it, and the limits it must keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

DEFAULT_WORKSPACE = "default"
DEFAULT_ORGANISATION = "default"

Kind = Literal["chat", "embeddings"]
CacheMode = Literal["off", "exact", "semantic"]


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who asks and who pays.

    Attributes
    ----------
    key_id : of the API key; None for a caller of an open API.
    user : the person for whom an application asks, as the application names them.
    role : application, analyst or admin.
    requests_per_minute, tokens_per_minute : of the key; None: no limit of its own.
    """

    workspace: str = DEFAULT_WORKSPACE
    organisation: str = DEFAULT_ORGANISATION
    project: str | None = None
    user: str | None = None
    key_id: str | None = None
    key_name: str = "local"
    role: str = "application"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What an answer may cost, how long it may take, what the model must be able to do. None: no limit.

    Attributes
    ----------
    max_cost : dollars for the whole request, all attempts and members of an ensemble together.
    max_latency_ms : expected milliseconds until the whole answer is there.
    min_quality : expected quality, 0 to 1.
    capabilities : each of them must be among the model's; see `gateway.choose.catalogue.CAPABILITIES`.
    regions : the provider must be in one of these (data residency).
    providers : only these providers.
    exclude : never these providers or models.
    local_only : the prompt must not leave the own machines; `private` sets it, and nothing lifts it on failover.
    """

    max_cost: float | None = None
    max_latency_ms: float | None = None
    min_quality: float | None = None
    capabilities: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()
    local_only: bool = False

    def whereabouts(self) -> Limits:
        """Those of them that say where the words may go: they hold for whatever else is done with these words."""
        return Limits(regions=self.regions, providers=self.providers, exclude=self.exclude, local_only=self.local_only)

    def explain_whereabouts(self) -> dict[str, Any]:
        """JSON of where the words may go, as the ledger keeps it; {} for anywhere."""
        if not (self.local_only or self.regions or self.providers or self.exclude):
            return {}
        told = {name: sorted(getattr(self, name)) for name in _PLACES if getattr(self, name)}
        return told | ({"local_only": True} if self.local_only else {})

    @classmethod
    def of_whereabouts(cls, told: Mapping[str, Any]) -> Limits:
        """What `explain_whereabouts` wrote down."""
        places: dict[str, Any] = {name: frozenset(told.get(name, ())) for name in _PLACES}
        return cls(**places, local_only=bool(told.get("local_only")))


_PLACES = ("regions", "providers", "exclude")


@dataclass(frozen=True, slots=True)
class Options:
    """What else a caller may say in the field `merit` of a request.

    Attributes
    ----------
    cache : None follows the workspace.
    conversation : id of a conversation that the gateway keeps; its messages come before those of the request.
    explore : whether this request may be used to try a model that is used little.
    fallbacks : whether another model may answer when the chosen one fails; an explicit `provider/model` says no
        unless this says yes.
    timeout_s : seconds after which the caller no longer wants an answer.
    task : the caller's own word for the kind of task; it wins over what the prompt looks like.
    tags : for analytics.
    members, weights, judge : of an ensemble; see `gateway.choose.ensembles`.
    trial : id of a tuned model on trial, which only its own evaluation may ask; no caller can say this.
    """

    cache: CacheMode | None = None
    conversation: str | None = None
    explore: bool = True
    fallbacks: bool | None = None
    timeout_s: float | None = None
    task: str | None = None
    tags: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    judge: str | None = None
    trial: str | None = None


@dataclass(slots=True)
class Prompt:
    """One request as the gateway sees it.

    Attributes
    ----------
    id : of the call and of its decision: 32 hex digits that sort by time.
    model : what was asked for: `auto`, `cheapest`, …, `ensemble/majority`, `provider/model`.
    body : the request in OpenAI's shape without the field `merit`. Never changed in place.
    stream : whether the answer is wanted piece by piece.
    wire : the shape in which the caller speaks.
    native : the caller's own body where `wire` is not OpenAI's: a provider that speaks the same gets it untouched.
    deadline : moment of `time.monotonic()` after which nobody waits any more; None: the gateway's own limit.
    request_id : of the HTTP request, for logs.
    stay : id of the model that answered last in the conversation and waits for a tool's result.
    """

    id: str
    tenant: Tenant
    kind: Kind
    model: str
    body: Mapping[str, Any]
    limits: Limits = Limits()
    options: Options = Options()
    stream: bool = False
    wire: Literal["openai", "anthropic"] = "openai"
    native: Mapping[str, Any] | None = None
    deadline: float | None = None
    request_id: str | None = None
    stay: str | None = None
