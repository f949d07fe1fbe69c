"""From the file to what the gateway runs with: read, checked as a whole, and right or refused with every error."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from gateway.call.providers.wire import Provider
from gateway.choose.catalogue import Model
from gateway.choose.ensemble import Ensemble
from gateway.configuration.offers import Catalogue, check_names
from gateway.configuration.problems import Problem, Problems, did_you_mean, quoted, raise_for
from gateway.configuration.schema import EnsembleSection, GatewaySection, ModelSection, ProviderSection
from gateway.configuration.upstreams import Reader, Upstream
from gateway.configuration.virtual import VirtualNames
from store.errors import SettingsError
from store.redaction import register_secret
from store.settings import Settings

FILE = "providers.toml"
_SECTIONS = ("gateway", "providers", "models", "aliases", "ensembles")
_MOST_BYTES = 5_000_000


@dataclass(frozen=True)
class Configuration:
    """What the gateway runs with; replaced as a whole.

    Attributes
    ----------
    providers : those that may be called, by name. One without its key in the environment is left out.
    models : those that may be called, by id.
    aliases : own name → id of a model, a strategy, or `ensemble/NAME`.
    ensembles : by name.
    attempts, deadline_s : of one call, all models together.
    retry_share, retry_floor : see `gateway.call.retry_budget`.
    source : the file it was read from.
    digest : SHA-256 of that file.
    notes : what was left out, and why.
    changes_at : when a price changes next, UTC; None: not that anybody announced.
    restricted : some of the models do not answer everybody.
    """

    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    aliases: Mapping[str, str] = field(default_factory=dict)
    ensembles: Mapping[str, Ensemble] = field(default_factory=dict)
    attempts: int = 3
    deadline_s: float = 300.0
    retry_share: float = 0.1
    retry_floor: float = 5.0
    source: str = ""
    digest: str = ""
    notes: tuple[str, ...] = ()
    changes_at: datetime | None = None
    restricted: bool = False


def load_configuration(
    settings: Settings,
    *,
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    at: datetime | None = None,
) -> Configuration:
    """The configuration of the gateway.

    Parameters
    ----------
    path : of the file; default: what `source_of` says.
    environ : where keys are read from; default: the environment of the process.
    at : the moment that prices are of, UTC; default: now.

    Raises
    ------
    SettingsError : the file cannot be read or is wrong; the message lists every error.
    """
    source = path or source_of(settings)
    configuration, problems = check(read(source), settings, source=source, environ=environ, at=at)
    raise_for(problems, str(source))
    return configuration


def source_of(settings: Settings) -> Path:
    """The file that counts: MERIT_PROVIDERS_FILE, else the one in MERIT_HOME, else the one that comes with the package.

    One of them counts as a whole; nothing is merged.
    """
    if settings.providers_file is not None:
        return settings.providers_file.expanduser()
    own = settings.root / FILE
    return own if own.is_file() else Path(str(files("gateway") / FILE))


def read(source: Path) -> bytes:
    """The bytes of a configuration.

    Raises
    ------
    SettingsError : there is no such file, it cannot be read, or nobody wrote it by hand.
    """
    try:
        content = source.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{source} cannot be read: {error.strerror}.",
            remedy="Correct or unset MERIT_PROVIDERS_FILE.",
            field="MERIT_PROVIDERS_FILE",
        ) from None
    if len(content) > _MOST_BYTES:
        raise SettingsError(f"{source} has {len(content):,} bytes.", remedy=f"{_MOST_BYTES:,} are the most.")
    return content


def check(
    content: bytes,
    settings: Settings,
    *,
    source: Path,
    environ: Mapping[str, str] | None = None,
    at: datetime | None = None,
) -> tuple[Configuration, list[Problem]]:
    """What a file says, as far as it is right, and everything that is wrong with it."""
    problems, notes = Problems(), list[str]()
    told = _parsed(content, problems)
    gateway = problems.parsed(GatewaySection, "gateway", told.get("gateway", {})) or GatewaySection()
    reader = Reader(settings, os.environ if environ is None else environ, gateway, problems, notes)
    catalogue = Catalogue(at or datetime.now(UTC), problems)
    upstreams = _upstreams(told, reader, catalogue)
    stated = _stated(told, set(upstreams), catalogue, problems)
    for name, upstream in upstreams.items():
        catalogue.add(name, upstream, stated.get(name, {}))
    virtual = _virtual(told, stated, catalogue, problems, notes)
    if not catalogue.models and not problems.found:
        notes.append("No model may be called.")
    configuration = Configuration(
        providers={name: one.provider for name, one in upstreams.items() if one.provider is not None},
        models=catalogue.models,
        aliases=virtual.aliases,
        ensembles=virtual.ensembles,
        attempts=gateway.attempts,
        deadline_s=gateway.deadline_s,
        retry_share=gateway.retry_share,
        retry_floor=gateway.retry_floor,
        source=str(source),
        digest=hashlib.sha256(content).hexdigest(),
        notes=tuple(notes),
        changes_at=catalogue.changes_at,
    )
    for provider in configuration.providers.values():
        for secret in (provider.key, *provider.headers.values()):
            register_secret(secret)
    return configuration, problems.found


def _parsed(content: bytes, problems: Problems) -> dict[str, Any]:
    try:
        told = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        problems.add("", "", "It is not text in UTF-8.", "Save it as UTF-8.")
        return {}
    except tomllib.TOMLDecodeError as error:
        problems.add("", "", f"It is not TOML: {error}.", "Correct that line; texts stand in quotes.")
        return {}
    for name in told:
        if name not in _SECTIONS:
            problems.add("", name, "there is no such section.", did_you_mean(name, _SECTIONS))
    return told


def _upstreams(told: Mapping[str, Any], reader: Reader, catalogue: Catalogue) -> dict[str, Upstream]:
    sections: dict[str, ProviderSection] = {}
    for name, given in _tables(told, "providers", reader.problems).items():
        section = reader.problems.parsed(ProviderSection, f"providers.{quoted(name)}", given)
        if section is None:
            catalogue.unread.add(name)
        else:
            sections[name] = section
    if reader.gateway.discover:
        configured = {section.kind or name for name, section in sections.items()} | set(sections) | catalogue.unread
        sections |= reader.discovered(configured)
    upstreams = {}
    for name, section in sections.items():
        upstream = reader.read(name, section)
        if upstream is None:
            catalogue.unread.add(name)
        else:
            upstreams[name] = upstream
    return upstreams


def _stated(
    told: Mapping[str, Any], providers: set[str], catalogue: Catalogue, problems: Problems
) -> dict[str, dict[str, ModelSection | None]]:
    """Entries of `[models]` by provider and name; None for those that are wrong."""
    stated: dict[str, dict[str, ModelSection | None]] = {}
    for model_id, given in _tables(told, "models", problems).items():
        place = f'models."{model_id}"'
        section = problems.parsed(ModelSection, place, given)
        looked_at = section or problems.sound(ModelSection, given)
        if looked_at is not None and not check_names(place, looked_at, problems):
            section = None
        provider, slash, name = model_id.partition("/")
        if not slash or not name:
            problems.add(place, "", "is not the id of a model.", 'Write it as [models."provider/name"].')
        elif provider in providers:
            stated.setdefault(provider, {})[name] = section
        elif provider not in catalogue.unread:
            message = f"there is no provider {provider!r}."
            problems.add(place, "", message, did_you_mean(provider, providers))
    return stated


def _virtual(
    told: Mapping[str, Any],
    stated: Mapping[str, Mapping[str, ModelSection | None]],
    catalogue: Catalogue,
    problems: Problems,
    notes: list[str],
) -> VirtualNames:
    virtual = VirtualNames(catalogue, problems, notes)
    for name, given in _tables(told, "ensembles", problems).items():
        section = problems.parsed(EnsembleSection, f"ensembles.{quoted(name)}", given)
        if section is not None:
            virtual.add_ensemble(name, section)
    for provider, entries in stated.items():
        for name, entry in entries.items():
            if entry is not None:
                virtual.add_aliases_of(f"{provider}/{name}", entry)
    virtual.add_aliases(_tables(told, "aliases", problems))
    return virtual


def _tables(told: Mapping[str, Any], section: str, problems: Problems) -> Mapping[str, Any]:
    given = told.get(section, {})
    if isinstance(given, Mapping):
        return given
    problems.add(section, "", "is not a section.", f"Write [{section}] or [{section}.NAME] and the keys below.")
    return {}
