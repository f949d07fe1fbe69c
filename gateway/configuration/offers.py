"""The catalogue: every model that may be called, from the configuration, the price table and stated priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from gateway.account.prices import Listed, listed, nanos_per_token, offered
from gateway.choose.catalogue import CAPABILITIES, DOMAINS, Model, Price, Tuning
from gateway.choose.known_models import Priors, guessed, is_offered, known
from gateway.choose.tunable import KNOWN_FOR, known_tuning
from gateway.configuration.problems import Problems, did_you_mean, quoted
from gateway.configuration.schema import ModelSection, PriceSection, RateSection, TuningSection
from gateway.configuration.upstreams import Upstream
from gateway.money import NANOS_PER_DOLLAR

LONG_CONTEXT = 200_000
_FREE = Price()
_NOTHING = ModelSection()
_DEFAULT = "default"
_DOMAINS = (*DOMAINS, _DEFAULT)


@dataclass
class Catalogue:
    """Collects models.

    Attributes
    ----------
    models : by their id.
    named : ids of these, and of those that are left out with their provider or disabled.
    unread : providers whose sections are wrong: any model may be theirs.
    changes_at : the first moment at which one of the prices changes.
    """

    at: datetime
    problems: Problems
    models: dict[str, Model] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    changes_at: datetime | None = None

    def knows(self, model_id: str) -> bool:
        """Whether a model is configured, though perhaps left out."""
        return model_id in self.named or model_id.partition("/")[0] in self.unread

    def add(self, name: str, upstream: Upstream, stated: Mapping[str, ModelSection | None]) -> None:
        """The models of one provider.

        Parameters
        ----------
        stated : its entries in `[models]` by the model's name; None for one that is wrong.
        """
        names = dict.fromkeys([*self._offered(upstream), *stated])
        if not names:
            self.problems.add(
                f"providers.{quoted(name)}",
                "models",
                "is missing, and the price table lists none for it.",
                'List what the provider offers: models = ["…"].',
            )
        for model in names:
            section = stated.get(model, _NOTHING)
            self.named.add(f"{name}/{model}")
            if section is None:
                continue
            made = self._model(name, model, upstream, section)
            if made is not None and section.enabled and upstream.provider is not None:
                self.models[made.id] = made

    def _offered(self, upstream: Upstream) -> list[str]:
        if upstream.section.models is not None:
            return upstream.section.models
        preset, price_list = upstream.preset, upstream.price_list
        if not preset.offer or price_list is None:
            return []
        names = [one.name for one in offered(price_list, self.at)]
        wanted = [name for pattern in preset.offer for name in _matching(pattern, names)]
        return [
            name for name in wanted if is_offered(name) and self._is_sold(price_list, _prefixed(name, preset.prefix))
        ]

    def _is_sold(self, price_list: str, name: str) -> bool:
        """Whether the table knows a model by the name that the provider is asked for."""
        found = listed(price_list, name, self.at)
        return found is not None and found.price is not None and not found.deprecated

    def _model(self, provider: str, name: str, upstream: Upstream, section: ModelSection) -> Model | None:
        place = f'models."{provider}/{name}"'
        asked_for = section.name or _prefixed(name, upstream.preset.prefix)
        found = listed(upstream.price_list, asked_for, self.at) if upstream.price_list is not None else None
        local = upstream.local if section.local is None else section.local
        price = self._price(place, name, upstream, section, found, local=local)
        if price is None:
            return None
        priors = known(asked_for) or guessed(price, kind=section.kind or "chat")
        kind = section.kind or priors.kind
        context = section.context or (found.context if found is not None else None) or priors.context
        if section.price is not None and kind == "chat" and section.price.output is None:
            self.problems.add(place, "price.output", "is missing.", "Add output = …; 0 where answers cost nothing.")
            return None
        preset = upstream.preset
        return Model(
            id=f"{provider}/{name}",
            provider=provider,
            name=asked_for,
            kind=kind,
            context=context,
            max_output=min(section.max_output or priors.max_output, context),
            capabilities=_capabilities(section, priors, kind, context),
            price=price,
            local=local,
            region=upstream.section.region or preset.region,
            quality=_quality(section, priors),
            latency_ms=_first(section.latency_ms, preset.latency_ms, priors.latency_ms),
            tokens_per_second=_first(section.tokens_per_second, preset.tokens_per_second, priors.tokens_per_second),
            tuning=_tuning(section.tuning, asked_for, upstream, price),
        )

    def _price(
        self, place: str, name: str, upstream: Upstream, section: ModelSection, found: Listed | None, *, local: bool
    ) -> Price | None:
        if section.price is not None:
            return _stated_price(section.price)
        if found is not None and found.price is not None:
            if found.until is not None and (self.changes_at is None or found.until < self.changes_at):
                self.changes_at = found.until
            return found.price
        if local:
            return _FREE
        close = get_close_matches(name, [one.name for one in offered(upstream.price_list or "", self.at)], 1)
        hint = f"Did you mean {close[0]}? Otherwise add" if close else "Add"
        self.problems.add(
            place,
            "price",
            "no price is known, and without one no budget would hold.",
            f"{hint} price = {{ input = …, output = … }} in dollars per million tokens; 0 where it is free.",
        )
        return None


def check_names(place: str, section: ModelSection, problems: Problems) -> bool:
    """Whether an entry's capabilities and kinds of task are ones that there are; each that is not is a problem."""
    capabilities = sorted(set(section.capabilities or ()) - set(CAPABILITIES))
    for one in capabilities:
        problems.add(place, "capabilities", f"{one!r} is no capability.", did_you_mean(one, CAPABILITIES))
    domains = sorted(set(section.quality) - set(_DOMAINS))
    for one in domains:
        problems.add(place, "quality", f"{one!r} is no kind of task.", did_you_mean(one, _DOMAINS))
    return not capabilities and not domains


def _capabilities(section: ModelSection, priors: Priors, kind: str, context: int) -> frozenset[str]:
    if kind == "embeddings":
        return frozenset({"embeddings"})
    stated = priors.capabilities if section.capabilities is None else frozenset(section.capabilities)
    return stated | {"chat"} | ({"long_context"} if context >= LONG_CONTEXT else set())


def _quality(section: ModelSection, priors: Priors) -> Mapping[str, float]:
    own = {"" if domain == _DEFAULT else domain: value for domain, value in section.quality.items()}
    # A default of somebody's own is about the whole model: what else was believed of it no longer holds.
    return own if "" in own else {**priors.quality, **own}


def _stated_price(price: PriceSection) -> Price:
    base = _rates(price, input_rate=price.input)
    request = price.request * NANOS_PER_DOLLAR
    tiers = tuple(
        (tier.above, Price(request=request, **{**base, **_rates(tier, input_rate=tier.input)}))
        for tier in sorted(price.tiers, key=lambda one: -one.above)
    )
    return Price(request=request, tiers=tiers, **base)


def _tuning(section: TuningSection | None, name: str, upstream: Upstream, price: Price) -> Tuning | None:
    """How a model can be tuned; only OpenAI's API for it is spoken."""
    if upstream.preset.wire != "openai":
        return None
    if section is None:
        return known_tuning(name) if upstream.price_list == KNOWN_FOR else None
    tuned = replace(price, tiers=(), **_rates(section, input_rate=section.input))
    training = nanos_per_token(section.training)
    return Tuning(section.name or name, training, tuned, section.longest)


def _rates(section: RateSection, *, input_rate: float | None) -> dict[str, Any]:
    stated = {"input": input_rate, **{name: getattr(section, name) for name in RateSection.model_fields}}
    return {name: nanos_per_token(value) for name, value in stated.items() if value is not None}


def _matching(pattern: str, names: Sequence[str]) -> Sequence[str]:
    """Names that a pattern means; one without wildcards means itself."""
    return [name for name in names if fnmatchcase(name, pattern)] if set(pattern) & set("*?[") else [pattern]


def _prefixed(name: str, prefix: str) -> str:
    return name if name.startswith(prefix) else prefix + name


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)
