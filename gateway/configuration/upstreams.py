"""Providers from their sections: address, key and headers, checked and completed by what is known of their kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gateway.call.providers.addresses import check_base_url
from gateway.call.providers.wire import Provider
from gateway.configuration.presets import Preset, presets
from gateway.configuration.problems import Problems, did_you_mean, quoted
from gateway.configuration.schema import GatewaySection, ProviderSection
from store.errors import SettingsError
from store.settings import Settings

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# What stands before the slash of something else that may be asked for.
_RESERVED = frozenset({"ensemble"})
_FROM_ENVIRONMENT = re.compile(r"(?:(?:Bearer|Basic|Token) )?\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
# Settings of this platform, secrets among them, are no provider's business.
_OURS = "MERIT_"
_OURS_REFUSED = ("names a setting of this platform.", "Put the provider's key into a variable of its own.")
_HOST_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type"})


@dataclass(frozen=True)
class Upstream:
    """A provider and how its models are found.

    Attributes
    ----------
    provider : None where it is left out: disabled, or its key is not set.
    local : of its models; the provider's own `local` says which addresses it may have.
    """

    section: ProviderSection
    preset: Preset
    price_list: str | None
    local: bool
    provider: Provider | None


@dataclass
class Reader:
    """Turns sections into providers.

    Parameters
    ----------
    environ : where keys and headers are taken from.
    """

    settings: Settings
    environ: Mapping[str, str]
    gateway: GatewaySection
    problems: Problems
    notes: list[str]

    def read(self, name: str, section: ProviderSection) -> Upstream | None:
        """A provider; None where its section is wrong."""
        place = f"providers.{quoted(name)}"
        before = len(self.problems.found)
        if not _NAME.fullmatch(name) or name in _RESERVED:
            self.problems.add(
                place, "", f"{name!r} cannot name a provider.", "Use lower-case letters, digits and - . _ only."
            )
        kind = section.kind or name
        preset = presets().get(kind)
        if preset is None:
            told = "is missing." if section.kind is None else f"{kind!r} is no kind of provider."
            known = did_you_mean(kind, presets())
            self.problems.add(place, "kind", told, f'{known} Whatever speaks like OpenAI is of kind = "openai".')
            if section.base_url is not None:
                # What no kind may have.
                self._check_address(place, section.base_url, local=True)
            return None
        own_address = preset.base_url.format(simulator_port=self.settings.simulator_port)
        base_url = (section.base_url or own_address).rstrip("/")
        # What is known of a kind holds for its own host. To another one its key is not sent, and that it runs on the
        # own machines must be said.
        at_home = _origin(base_url) == _origin(own_address)
        if not at_home:
            preset = Preset(preset.wire, "")
        local = preset.local if section.local is None else section.local
        reachable = local or (preset.loopback and _origin(base_url)[1] == "127.0.0.1")
        self._check_address(place, base_url, local=reachable)
        key_env = section.key_env or preset.key_env
        if (section.key_env or "").startswith(_OURS):
            self.problems.add(place, "key_env", *_OURS_REFUSED)
        headers = self._headers(place, section)
        if len(self.problems.found) > before:
            return None
        provider = None
        if section.enabled and self._is_set(name, key_env) and headers is not None:
            provider = Provider(
                name=name,
                wire=preset.wire,
                base_url=base_url,
                key=self.environ[key_env].strip() if key_env is not None else None,
                headers=headers,
                local=reachable,
                region=section.region or preset.region,
                concurrency=section.concurrency or self.gateway.concurrency,
                on_disconnect=section.on_disconnect,
                probe=section.probe,
                **self._timeouts(section),
            )
        return Upstream(section, preset, section.price_list or preset.price_list, local, provider)

    def discovered(self, kinds: set[str]) -> dict[str, ProviderSection]:
        """A section for every well-known provider that is not configured and whose key is in the environment."""
        return {
            name: ProviderSection(kind=name)
            for name, preset in presets().items()
            if name not in kinds and preset.key_env is not None and self.environ.get(preset.key_env, "").strip()
        }

    def _check_address(self, place: str, base_url: str, *, local: bool) -> None:
        try:
            check_base_url(base_url, local=local)
        except SettingsError as error:
            self.problems.add(place, "base_url", error.message, error.remedy)
            return
        parts = urlsplit(base_url)
        if parts.port == self.settings.port and parts.hostname in ("127.0.0.1", "localhost", "::1", self.settings.host):
            self.problems.add(
                place,
                "base_url",
                f"port {parts.port} is this API's own: the gateway would call itself.",
                "Start the provider on another port, or set MERIT_PORT to another one.",
            )

    def _headers(self, place: str, section: ProviderSection) -> dict[str, str] | None:
        """Headers with their values from the environment; None where a variable is not set."""
        made: dict[str, str] = {}
        complete = True
        for header, value in section.headers.items():
            found = _FROM_ENVIRONMENT.fullmatch(value)
            if header.lower() in _HOST_HEADERS:
                self.problems.add(place, f"headers.{header}", "is set by the gateway itself.", "Leave it out.")
            elif found is None:
                self.problems.add(
                    place,
                    f"headers.{header}",
                    "its value does not come from the environment (what is written is not shown).",
                    'Put the value into a variable and write "{env:NAME_OF_THE_VARIABLE}".',
                )
            elif found[1].startswith(_OURS):
                self.problems.add(place, f"headers.{header}", *_OURS_REFUSED)
            elif not (secret := self.environ.get(found[1], "").strip()) or not secret.isprintable():
                if section.enabled:
                    self.notes.append(f"{place} is left out: {found[1]}, for its header {header}, is not set.")
                complete = False
            else:
                made[header] = value.replace(f"{{env:{found[1]}}}", secret)
        return made if complete else None

    def _is_set(self, name: str, key_env: str | None) -> bool:
        if key_env is None:
            return True
        key = self.environ.get(key_env, "").strip()
        if key and key.isprintable() and key.isascii():
            return True
        why = "holds characters that no key has" if key else "is not set"
        self.notes.append(f"providers.{quoted(name)} is left out: {key_env}, for its key, {why}.")
        return False

    def _timeouts(self, section: ProviderSection) -> dict[str, Any]:
        names = ("timeout_s", "connect_s", "first_byte_s", "stall_s")
        return {name: getattr(section, name) or getattr(self.gateway, name) for name in names}


def _origin(url: str) -> tuple[str, str]:
    """Scheme and host."""
    try:
        parts = urlsplit(url)
        return parts.scheme, (parts.hostname or "").lower()
    except ValueError:
        return "", ""
