"""API keys: made here, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from store.database import migrate, session
from store.errors import InvalidValue, UnknownEntity
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.platform import ApiKeyRow

ROLES = ("application", "analyst", "admin")
PREFIX = "merit_"
_ABSENT = "0" * 64
_SHAPE = re.compile(PREFIX + r"([0-9a-f]{12})_[0-9a-f]{48}", re.ASCII)


@dataclass(frozen=True)
class KeyInfo:
    """A key without its secret.

    Attributes
    ----------
    id : 12 hex digits; the secret shows them after its prefix, so that a key found somewhere can be revoked.
    role : "application", "analyst" or "admin"; each may do what those before it may.
    created_at, expires_at, revoked_at : naive UTC.
    workspace : the one that it is bound to; None: a key of the whole platform.
    project : what its calls count for.
    requests_per_minute, tokens_per_minute : what it may ask of the gateway; None: no limit of its own.
    """

    id: str
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    workspace: str | None = None
    project: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def allows(self, role: str) -> bool:
        """Whether this key may do what `role` may."""
        return ROLES.index(self.role) >= ROLES.index(role)


def create(
    settings: Settings,
    name: str,
    role: str,
    expires: datetime | None = None,
    *,
    workspace: str | None = None,
    project: str | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
) -> tuple[KeyInfo, str]:
    """Make a key; returns what is kept of it, and the secret, which nobody can ever show again.

    Parameters
    ----------
    expires : the moment from which it is refused; naive is UTC.
    workspace : binds the key to it: it sees and changes nothing of the others, whatever its role.

    Raises
    ------
    InvalidValue : an empty name or one that a valid key has, an unknown role, a moment that has passed, no limit.
    """
    migrate(settings)
    name = _named(name, "key", "name")
    workspace = _named(workspace, "workspace", "workspace") if workspace is not None else None
    project = _named(project, "project", "project") if project is not None else None
    for field, limit in (("requests_per_minute", requests_per_minute), ("tokens_per_minute", tokens_per_minute)):
        if limit is not None and not 1 <= limit < 2**31:
            raise InvalidValue(
                f"{field} is {limit}, which is no limit.", remedy="Use a whole number from 1.", field=field, value=limit
            )
    if role not in ROLES:
        raise InvalidValue(
            f"{role!r} is not a role.", remedy=f"Use one of {', '.join(ROLES)}.", field="role", value=role
        )
    now = utc_now()
    if expires is not None and expires.tzinfo is not None:
        expires = expires.astimezone(UTC).replace(tzinfo=None)
    if expires is not None and expires <= now:
        raise InvalidValue(
            f"The key would have expired already, at {expires:%Y-%m-%d %H:%M} UTC.",
            remedy="Name a moment in the future.",
            field="expires",
            value=expires.isoformat(),
        )
    number = secrets.token_hex(6)
    secret = f"{PREFIX}{number}_{secrets.token_hex(24)}"
    row = ApiKeyRow(
        id=number,
        name=name,
        role=role,
        workspace=workspace,
        project=project,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        sha256=_hash(secret),
        created_at=now,
        expires_at=expires,
    )
    try:
        with session(settings) as opened:
            opened.add(row)
    except IntegrityError:
        raise InvalidValue(
            f"There is a key named {name!r} already.",
            remedy="Choose another name, or revoke it first: `merit keys list`, `merit keys revoke ID`.",
            field="name",
            value=name,
        ) from None
    return _info(row), secret


def verify(settings: Settings, secret: str) -> KeyInfo | None:
    """The key a secret belongs to; None for an unknown, expired or revoked one, without saying which."""
    migrate(settings)
    shape = _SHAPE.fullmatch(secret)
    with session(settings, readonly=True) as opened:
        row = opened.get(ApiKeyRow, shape[1] if shape else "")
    # The same work for a known and an unknown id; SHA-256 suffices for a secret of 192 random bits.
    right = hmac.compare_digest(row.sha256 if row else _ABSENT, _hash(secret))
    if row is None or not right or row.revoked_at is not None:
        return None
    if row.expires_at is not None and row.expires_at <= utc_now():
        return None
    return _info(row)


def revoke(settings: Settings, key: str, *, workspace: str | None = None) -> KeyInfo:
    """End a key, by its id or its name. Ending one that has ended changes nothing.

    Parameters
    ----------
    workspace : only a key of this one.

    Raises
    ------
    UnknownEntity : there is no such key.
    """
    migrate(settings)
    key = key.replace("\x00", "")
    with session(settings) as opened:
        by_name = sa.select(ApiKeyRow).where(ApiKeyRow.name == key).order_by(ApiKeyRow.revoked_at.is_not(None))
        row = opened.get(ApiKeyRow, key) or opened.scalars(by_name).first()
        if row is None or (workspace is not None and row.workspace != workspace):
            raise UnknownEntity(
                f"There is no API key {key!r}.", remedy="See `merit keys list`.", field="key", value=key
            )
        if row.revoked_at is None:
            row.revoked_at = utc_now()
    return _info(row)


def list_keys(settings: Settings, *, workspace: str | None = None) -> list[KeyInfo]:
    """Every key ever made, or those of one workspace, oldest first."""
    migrate(settings)
    query = sa.select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id)
    if workspace is not None:
        query = query.where(ApiKeyRow.workspace == workspace)
    with session(settings, readonly=True) as opened:
        return [_info(row) for row in opened.scalars(query)]


def any_keys(settings: Settings) -> bool:
    """Whether a key was ever made. Revoking the last one must not open the API again."""
    migrate(settings)
    with session(settings, readonly=True) as opened:
        return opened.scalar(sa.select(ApiKeyRow.id).limit(1)) is not None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _named(name: str, what: str, field: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise InvalidValue(
            f"{name[:50]!r} cannot name a {what}.",
            remedy="Use 1 to 200 printable characters.",
            field=field,
            value=name,
        )
    return name


def _info(row: ApiKeyRow) -> KeyInfo:
    return KeyInfo(**{field.name: getattr(row, field.name) for field in fields(KeyInfo)})
