"""What may stand in providers.toml: every section, key, type and bound. Anything else is refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.choose.ensemble import MOST_MEMBERS

# TOML knows nan and inf; nothing here means them.
_Strict = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

Seconds = Annotated[float, Field(gt=0, le=3_600)]
Dollars = Annotated[float, Field(ge=0, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class GatewaySection(BaseModel):
    """`[gateway]`: what holds for every call, and defaults of every provider."""

    model_config = _Strict

    attempts: int = Field(3, ge=1, le=10)
    deadline_s: Seconds = 300.0
    retry_share: Share = 0.1
    retry_floor: float = Field(5.0, ge=0, le=1_000)
    discover: bool = False
    timeout_s: Seconds = 120.0
    connect_s: Seconds = 5.0
    first_byte_s: Seconds = 60.0
    stall_s: Seconds = 30.0
    concurrency: int = Field(256, ge=1, le=100_000)


class ProviderSection(BaseModel):
    """`[providers.NAME]`: where it is and how it is spoken to. None: as the gateway or the kind says."""

    model_config = _Strict

    kind: Name | None = None
    base_url: Annotated[str, Field(min_length=1, max_length=2_000)] | None = None
    key_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)] | None = None
    headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", max_length=200)], str] = Field(
        default_factory=dict, max_length=50
    )
    local: bool | None = None
    region: Name | None = None
    enabled: bool = True
    models: list[Name] | None = Field(None, max_length=1_000)
    price_list: Name | None = None
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    probe: bool = True
    timeout_s: Seconds | None = None
    connect_s: Seconds | None = None
    first_byte_s: Seconds | None = None
    stall_s: Seconds | None = None
    concurrency: int | None = Field(None, ge=1, le=100_000)


class RateSection(BaseModel):
    """Dollars per million tokens."""

    model_config = _Strict

    output: Dollars | None = None
    cached: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_hour: Dollars | None = None
    reasoning: Dollars | None = None
    audio_input: Dollars | None = None
    audio_output: Dollars | None = None


class TierSection(RateSection):
    """What the whole call costs once the prompt is longer than `above` tokens; what is left out stays as it was."""

    above: int = Field(ge=1)
    input: Dollars | None = None


class PriceSection(RateSection):
    """`price`: replaces the listed price as a whole. `request` is dollars for the call itself."""

    input: Dollars
    request: Dollars = 0.0
    tiers: list[TierSection] = Field(default_factory=list, max_length=10)


class TuningSection(RateSection):
    """`tuning`: what training costs per million tokens and epoch, and what calls to the tuned model cost.

    What is left out of the calls' price is as the model's own; `name` is what the fine-tuning API calls the model, and
    `longest` the most tokens of an example.
    """

    training: Dollars
    input: Dollars | None = None
    name: Name | None = None
    longest: int = Field(65_536, ge=1, le=100_000_000)


class ModelSection(BaseModel):
    """`[models."provider/name"]`: what differs from what is known of a model, or all about one that is not known."""

    model_config = _Strict

    name: Name | None = None
    kind: Literal["chat", "embeddings"] | None = None
    price: PriceSection | None = None
    context: int | None = Field(None, ge=1, le=100_000_000)
    max_output: int | None = Field(None, ge=1, le=100_000_000)
    capabilities: list[Name] | None = None
    quality: dict[str, Share] = Field(default_factory=dict)
    latency_ms: float | None = Field(None, ge=0, le=3_600_000)
    tokens_per_second: float | None = Field(None, gt=0, le=1_000_000)
    local: bool | None = None
    enabled: bool = True
    aliases: list[Name] = Field(default_factory=list, max_length=50)
    tuning: TuningSection | None = None


class EnsembleSection(BaseModel):
    """`[ensembles.NAME]`: models that answer together, asked for as `ensemble/NAME`; see `gateway.choose.ensemble`."""

    model_config = _Strict

    rule: Literal["majority", "weighted", "confidence", "best-of-n", "consensus"]
    members: list[Name] = Field(default_factory=list, max_length=MOST_MEMBERS)
    weights: dict[str, Annotated[float, Field(ge=0, le=1_000_000)]] = Field(default_factory=dict)
    size: int = Field(3, ge=2, le=MOST_MEMBERS)
    threshold: float = Field(0.6, gt=0.5, le=1)
    judge: Name | None = None
