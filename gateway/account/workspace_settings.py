"""What can be set for a workspace: what it may do, and what is kept of what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import pydantic
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from gateway.choose.catalogue import CAPABILITIES
from gateway.choose.substitution import Substitute
from gateway.prompt import DEFAULT_ORGANISATION, CacheMode, Limits
from store.errors import InvalidValue, NoCandidate

_NO_LIMITS = Limits()
_STRICT = ConfigDict(extra="forbid")
_Rate = Annotated[int, Field(ge=1, lt=2**31)]


@dataclass(frozen=True, slots=True, config=_STRICT)
class Filters:
    """What is not let out in answers.

    Attributes
    ----------
    secrets : API keys, private keys, tokens.
    personal_data : e-mail addresses, telephone, card and account numbers, internet addresses.
    mode : "mask" replaces them, "refuse" holds the answer back.
    """

    secrets: bool = False
    personal_data: bool = False
    mode: Literal["mask", "refuse"] = "mask"


@dataclass(frozen=True, slots=True, config=_STRICT)
class WorkspaceSettings:
    """One workspace.

    Attributes
    ----------
    keep : of prompts and answers: nothing, the words, or the words encrypted.
    contents_days : after so many days kept words and conversations are removed; None: never.
    calls_days : after so many days calls are summed up by day; None: never.
    cache : whether answers are kept to be given again; `semantic_threshold` is the least similarity, 0 to 1.
    allowed_models : ids, or patterns such as `openai/*`; empty: all.
    regions : providers must be in one of these, whatever a request says; empty: anywhere.
    local_only : no prompt leaves the own machines, whatever a request says.
    requests_per_minute, tokens_per_minute, concurrent : of the whole workspace; None: no limit.
    explore : whether models that are used little may be tried.
    limits : for requests that bring no limit of their own.
    substitutes : other models that answer what is simple; of several rules for a call the first counts.
    """

    organisation: Annotated[str, Field(min_length=1, max_length=256)] = DEFAULT_ORGANISATION
    keep: Literal["nothing", "plain", "encrypted"] = "nothing"
    contents_days: Annotated[int, Field(ge=1, le=36_500)] | None = 30
    calls_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    cache: CacheMode = "off"
    semantic_threshold: Annotated[float, Field(gt=0, le=1)] = 0.95
    filters: Filters = Filters()
    allowed_models: Annotated[tuple[str, ...], Field(max_length=1000)] = ()
    regions: frozenset[str] = frozenset()
    local_only: bool = False
    requests_per_minute: _Rate | None = None
    tokens_per_minute: _Rate | None = None
    concurrent: _Rate | None = None
    explore: bool = True
    limits: Limits = _NO_LIMITS
    substitutes: Annotated[tuple[Substitute, ...], Field(max_length=100)] = ()

    def allows(self, model_id: str) -> bool:
        """Whether a model may answer in this workspace."""
        return not self.allowed_models or any(fnmatchcase(model_id, one) for one in self.allowed_models)

    def within(self, asked: Limits) -> Limits:
        """The limits of a request within those of the workspace: its own where it brings any, else the defaults; where
        data may go it can narrow but not widen.

        Raises
        ------
        NoCandidate : it asks for regions that the workspace does not allow.
        """
        if self.limits is _NO_LIMITS and not self.regions and not self.local_only:
            return asked
        ours = self.limits
        regions = asked.regions or ours.regions or self.regions
        if self.regions:
            regions = regions & self.regions
            if not regions:
                raise NoCandidate(
                    f"Data of this workspace stays in {_listed(self.regions)}; the request allows only "
                    f"{_listed(asked.regions or ours.regions)}.",
                    remedy="Ask for one of the workspace's regions, or for none.",
                    field="merit.regions",
                    value=sorted(asked.regions),
                )
        return Limits(
            max_cost=ours.max_cost if asked.max_cost is None else asked.max_cost,
            max_latency_ms=ours.max_latency_ms if asked.max_latency_ms is None else asked.max_latency_ms,
            min_quality=ours.min_quality if asked.min_quality is None else asked.min_quality,
            capabilities=asked.capabilities or ours.capabilities,
            regions=regions,
            providers=asked.providers or ours.providers,
            exclude=asked.exclude | ours.exclude,
            local_only=asked.local_only or ours.local_only or self.local_only,
        )


_ADAPTER = TypeAdapter(WorkspaceSettings)
DEFAULTS = WorkspaceSettings()


def parse(values: Mapping[str, Any]) -> WorkspaceSettings:
    """Settings from JSON.

    Raises
    ------
    InvalidValue : an unknown field, or a value that does not fit; the message names it.
    """
    try:
        made = _ADAPTER.validate_python(dict(values))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise InvalidValue(
            f"{path} of a workspace: {first['msg']}.",
            remedy="Correct it; `GET /v1/workspaces/default` shows every field.",
            field=path,
            value=str(first.get("input"))[:200],
        ) from None
    _check(made.limits)
    for number, rule in enumerate(made.substitutes):
        if rule.asked == rule.use:
            raise InvalidValue(
                f"substitutes.{number} of a workspace has {rule.use!r} answer in place of itself.",
                remedy="Name another model.",
                field=f"substitutes.{number}.use",
                value=rule.use,
            )
    # One object for all who have none: most calls compare no more than that.
    return replace(made, limits=_NO_LIMITS) if made.limits == _NO_LIMITS else made


def _check(limits: Limits) -> None:
    for name, most in (("max_cost", 1e6), ("max_latency_ms", 1e9), ("min_quality", 1.0)):
        value = getattr(limits, name)
        if value is not None and not 0 <= value <= most:
            raise InvalidValue(
                f"limits.{name} of a workspace is {value}, which is not between 0 and {most:g}.",
                remedy="Correct it.",
                field=f"limits.{name}",
                value=value,
            )
    if unknown := sorted(limits.capabilities.difference(CAPABILITIES)):
        raise InvalidValue(
            f"limits.capabilities of a workspace holds {unknown[0]!r}, which is no capability.",
            remedy=f"Capabilities are {', '.join(CAPABILITIES)}.",
            field="limits.capabilities",
            value=unknown[0],
        )


def as_json(settings: WorkspaceSettings) -> dict[str, Any]:
    """Settings as JSON, which `parse` reads."""
    shown: dict[str, Any] = _ADAPTER.dump_python(settings, mode="json")
    for part in (shown, shown["limits"]):
        for name, value in part.items():
            if isinstance(value, list) and name != "substitutes":  # whose order counts
                value.sort()
    return shown


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
