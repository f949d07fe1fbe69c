"""Who is calling: API keys with roles, verified against the database and remembered for a few seconds.

Without any key the API is open, but only to callers on this machine; `Access.start` refuses every other set-up.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway.prompt import DEFAULT_WORKSPACE, Tenant
from store import keys, workspaces
from store.errors import AccessDenied, SettingsError
from store.settings import Settings

log = logging.getLogger("merit.serving")

ROLES: Mapping[str, int] = {"application": 1, "analyst": 2, "admin": 3}
REMEMBER_SECONDS = 2.0
MOST_REMEMBERED = 10_000

_REMEDY = "Send a key as `Authorization: Bearer …` or `X-API-Key: …`; `merit keys create` makes one."


@dataclass(frozen=True)
class Caller:
    """Who asks. `key_id` is None for a caller of an open API.

    Attributes
    ----------
    name : name of the key, for the ledger and the log.
    role : application, analyst or admin; each may do what those before it may.
    workspace : the one that the key is bound to; None: the whole platform.
    tenant : who pays for what it asks of the gateway.
    """

    name: str
    role: str
    key_id: str | None = None
    workspace: str | None = None
    tenant: Tenant = field(default_factory=Tenant)

    @property
    def sees_only(self) -> str | None:
        """The caller whose predictions and forecasts may be seen; None for everybody's."""
        return self.name if self.role == "application" or self.workspace is not None else None

    def sees(self, workspace: str) -> bool:
        """Whether what belongs to a workspace may be seen."""
        return self.workspace is None or self.workspace == workspace


_LOCAL = Caller("local", "admin", tenant=Tenant(role="admin"))


class Access:
    """Tells who is calling and refuses those who may not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[bytes, tuple[float, Caller | None]] = {}
        self._open_until = 0.0

    def start(self) -> bool:
        """Look whether there are keys; returns whether the API runs open.

        Raises
        ------
        SettingsError : there are none and the API would listen beyond this machine.
        """
        if keys.any_keys(self._settings):
            return False
        if not is_loopback(self._settings.host):
            raise SettingsError(
                f"MERIT_HOST={self._settings.host} would open the API to the network, and there are no API keys.",
                remedy="Create one with `merit keys create NAME --role admin`, or listen on 127.0.0.1.",
                field="MERIT_HOST",
                value=self._settings.host,
            )
        log.warning(
            "No API keys exist: the API is open to every program on this machine. `merit keys create` closes it."
        )
        return True

    async def caller(self, scope: Mapping[str, Any], role: str, *, platform: bool = False) -> Caller:
        """The caller of a request, who has at least `role`.

        Parameters
        ----------
        platform : a key that is bound to a workspace does not do.

        Raises
        ------
        AccessDenied : no key (401, field `Authorization`), one of a lesser role (403, field `role`), or one of a
            workspace alone (403, field `workspace`).
        """
        secret = _secret(scope)
        if secret is None:
            if await self._is_open():
                _check_local(scope, self._settings)
                return _LOCAL
            raise AccessDenied("This needs an API key.", remedy=_REMEDY, field="Authorization")
        found = await self._verify(secret)
        if found is None:
            if await self._is_open():
                _check_local(scope, self._settings)
                return _LOCAL
            # The key itself is never shown: logs and screens outlive it.
            raise AccessDenied("The API key is not valid.", remedy=_REMEDY, field="Authorization")
        if ROLES[found.role] < ROLES[role]:
            raise AccessDenied(
                f"The key {found.name!r} has the role {found.role}; this needs {role}.",
                remedy=f"Use a key of the role {role}: `merit keys create NAME --role {role}` makes one.",
                field="role",
                value=found.role,
            )
        if platform and found.workspace is not None:
            raise AccessDenied(
                f"The key {found.name!r} is bound to the workspace {found.workspace!r}; this concerns the platform.",
                remedy="Use a key that was made without a workspace.",
                field="workspace",
                value=found.workspace,
            )
        return found

    def is_local(self, scope: Mapping[str, Any]) -> bool:
        """Whether a request comes from this machine, under a name of it."""
        try:
            _check_local(scope, self._settings)
        except AccessDenied:
            return False
        return True

    def forget(self) -> None:
        """Verify every key anew: one was created or revoked here."""
        self._known.clear()
        self._open_until = 0.0

    async def _verify(self, secret: bytes) -> Caller | None:
        # To remember them by alone: what is stored of a key is another hash.
        digest = hashlib.blake2b(secret, digest_size=32).digest()
        now = time.monotonic()
        remembered = self._known.get(digest)
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        caller = await asyncio.to_thread(self._look_up, secret)
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()  # Somebody tries keys; the true ones are looked up again.
        self._known[digest] = (now + REMEMBER_SECONDS, caller)
        return caller

    def _look_up(self, secret: bytes) -> Caller | None:
        key = keys.verify(self._settings, secret.decode("latin-1"))
        if key is None:
            return None
        workspace = key.workspace or DEFAULT_WORKSPACE
        tenant = Tenant(
            workspace=workspace,
            organisation=workspaces.organisation_of(self._settings, workspace),
            project=key.project,
            key_id=key.id,
            key_name=key.name,
            role=key.role,
            requests_per_minute=key.requests_per_minute,
            tokens_per_minute=key.tokens_per_minute,
        )
        return Caller(key.name, key.role, key.id, key.workspace, tenant)

    async def _is_open(self) -> bool:
        now = time.monotonic()
        if now < self._open_until:
            return True
        if await asyncio.to_thread(keys.any_keys, self._settings):
            return False
        self._open_until = now + REMEMBER_SECONDS
        return True


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _secret(scope: Mapping[str, Any]) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return bytes(value[7:].strip())
        if name == b"x-api-key":
            return bytes(value.strip())
    return None


def _check_local(scope: Mapping[str, Any], settings: Settings) -> None:
    """Refuse callers from elsewhere while the API is open, whatever address the server was told to listen on.

    Also refuses a foreign `Host` and a foreign `Origin`: a web page could otherwise reach the API through the reader's
    own browser, which lets it post forms and open WebSockets to anywhere.
    """
    client = scope.get("client")
    if client is not None and not is_loopback(client[0]):
        raise AccessDenied(
            f"Without API keys the API answers only callers on its own machine, not {client[0]}.",
            remedy=_REMEDY,
            field="Authorization",
        )
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name and name != settings.host and not is_loopback(name):
        raise AccessDenied(
            f"Without API keys the API answers only under a name of its own machine, not {name!r}.",
            remedy=f"Use http://127.0.0.1:{settings.port}, or create a key with `merit keys create`.",
            field="Authorization",
        )
    origin = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), None)
    if origin is not None and not is_loopback(_host_of(origin)):
        raise AccessDenied(
            f"Without API keys the API answers no web page of {origin[:100]!r}.",
            remedy="Create a key with `merit keys create`, and send it.",
            field="Authorization",
        )


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""
