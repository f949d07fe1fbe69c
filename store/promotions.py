"""Who is champion, and the ledger of how that came about.

A promotion is one write, the registry's alias `champion`; everything else is arranged around it so that a process may
die anywhere. The ledger gets an `intended` line first and is settled afterwards: by the same call, by the next one on
that model, or by `recover`. A line that is settled never changes again.

Promotions of one model wait for each other across threads, processes and, on Postgres, machines. The lock is one that
dies with its holder: a locked row on Postgres, a locked file beside the database on SQLite (whose only row lock is the
whole database: holding that would keep predictions from being logged).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError

from store import ledger
from store.database import database_url, engine, migrate
from store.errors import (
    IntegrityFailed,
    InvalidValue,
    NoChampion,
    PromotionConflict,
    ServiceUnavailable,
    UnknownModel,
    UnknownVersion,
)
from store.ledger import Promotion, history
from store.locks import file_lock
from store.settings import Settings
from store.tables.platform import PromotionLockRow

if TYPE_CHECKING:
    from store.registry import Registry, VersionInfo

__all__ = ["Promotion", "history", "predecessor", "promote", "record_refusal", "recover", "rollback"]

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
LOCK_SECONDS = 30


def promote(
    settings: Settings,
    registry: Registry,
    name: str,
    version: int,
    *,
    expected: int | None,
    actor: str,
    reason: str,
    report: Mapping[str, Any] | None = None,
    key: str | None = None,
) -> Promotion:
    """Make `version` champion of the model `name`, if `expected` still is.

    Parameters
    ----------
    expected : the champion that `version` was compared with; None where there was none.
    key : names this attempt. When `version` was promoted under the same key, that line of the ledger is returned and
        nothing is done, so that a flow that was killed right after its promotion can be retried.

    Raises
    ------
    UnknownModel, UnknownVersion : there is no such version.
    PromotionConflict : the champion is another than `expected`; the ledger says so. Also when another promotion holds
        the model for more than 30 s.
    InvalidValue : `version` is champion already.
    IntegrityFailed : its files are not those that were registered; the ledger says so.
    """
    migrate(settings)
    entry = {
        **_origin(registry.version(name, version)),
        "kind": "promotion",
        "from_version": expected,
        "actor": actor,
        "reason": reason,
        "report": dict(report) if report is not None else None,
        "key": key,
    }
    with _alone(settings, name):
        _reconcile(settings, registry, name)
        for line in ledger.lines(settings, name, "done") if key is not None else ():
            if (line.key, line.to_version) == (key, version):
                return line
        champion = registry.alias(name, CHAMPION)
        if champion != expected:
            detail = (
                f"The champion of {name!r} is {_called(champion)}; {version} was compared with {_called(expected)}."
            )
            ledger.append(settings, state="refused", detail=detail, **entry)
            raise PromotionConflict(
                detail,
                remedy="Compare it with the present champion: train again, or see `merit registry history`.",
                field="expected",
                value=expected,
            )
        if champion == version:
            raise InvalidValue(
                f"Version {version} of {name!r} is champion already.",
                remedy=f"See `merit registry show {name}`.",
                field="version",
                value=version,
            )
        return _move(settings, registry, entry)


def rollback(
    settings: Settings,
    registry: Registry,
    name: str,
    *,
    actor: str,
    reason: str,
    to: int | None = None,
    expected: int | None = None,
) -> Promotion:
    """Make the champion's predecessor, or the version `to`, champion again; the present one becomes `previous`.

    Neither training code nor the present champion's files are needed. A second call goes farther back, never forward
    again to what the first one left; see `predecessor`.

    Parameters
    ----------
    expected : roll back only if this version is champion.

    Raises
    ------
    UnknownModel : there is none of that name.
    NoChampion : nothing has been promoted yet.
    UnknownVersion : there is no version to go back to.
    PromotionConflict : another version than `expected` is champion, or another promotion holds the model.
    InvalidValue : `to` is champion already.
    IntegrityFailed : the files of the version to go back to are broken; the ledger says so.
    """
    migrate(settings)
    registry.model(name)
    with _alone(settings, name):
        _reconcile(settings, registry, name)
        champion = registry.alias(name, CHAMPION)
        if champion is None:
            raise NoChampion(
                f"The model {name!r} has no champion to roll back from.",
                remedy=f"Promote a version: `merit registry promote {name} VERSION`.",
                field="name",
                value=name,
            )
        target = to if to is not None else _predecessor(settings, registry, name)
        if target is None:
            raise UnknownVersion(
                f"The champion of {name!r}, version {champion}, has no predecessor that was not rolled back from.",
                remedy=f"Name a version: `merit registry rollback {name} --to VERSION`.",
                field="to",
            )
        if target == champion:
            raise InvalidValue(
                f"Version {target} of {name!r} is champion already.",
                remedy="Name another version.",
                field="to",
                value=target,
            )
        entry = {
            **_origin(registry.version(name, target)),
            "kind": "rollback",
            "from_version": champion,
            "actor": actor,
            "reason": reason,
        }
        if expected is not None and champion != expected:
            detail = f"The champion of {name!r} is {_called(champion)}, not {_called(expected)}."
            ledger.append(settings, state="refused", detail=detail, **entry)
            raise PromotionConflict(
                detail, remedy="See `merit registry history`, then decide again.", field="expected", value=expected
            )
        return _move(settings, registry, entry)


def predecessor(settings: Settings, registry: Registry, name: str) -> int | None:
    """The version that `rollback` would make champion: the newest earlier champion that was not itself rolled back
    from. None where there is none.

    A promotion puts a version on top of those before it; a rollback takes away whatever lies above the version that it
    returns to. So what was rolled back from is no predecessor until somebody promotes it again.
    """
    migrate(settings)
    return _predecessor(settings, registry, name)


def _predecessor(settings: Settings, registry: Registry, name: str) -> int | None:
    champions: list[Promotion] = []
    for line in ledger.lines(settings, name, "done"):
        if line.kind == "rollback":
            left = champions.pop() if champions else None
            places = [place for place, one in enumerate(champions) if one.to_version == line.to_version]
            del champions[places[-1] if places else len(champions) :]
            if left is not None:
                # Were it champion more than once: it is no better for having been so earlier.
                champions = [one for one in champions if one.to_version != left.to_version]
        if line.to_version is not None:
            champions.append(line)
    top = champions[-1].to_version if champions else None
    for line in reversed(champions):
        if line.to_version is None or line.to_version == top:
            continue
        try:
            known = registry.version(name, line.to_version)
        except (UnknownModel, UnknownVersion):
            continue
        # A registry that was started anew counts its versions from 1 again.
        if line.run_id is None or (known.run_id or None) == line.run_id:
            return line.to_version
    return None


def record_refusal(
    settings: Settings,
    registry: Registry,
    name: str,
    version: int,
    *,
    expected: int | None,
    actor: str,
    reason: str,
    report: Mapping[str, Any] | None = None,
) -> Promotion:
    """Write into the ledger that the gate refused `version` against the champion `expected`.

    Raises
    ------
    UnknownModel, UnknownVersion : there is no such version.
    """
    migrate(settings)
    return ledger.append(
        settings,
        state="refused",
        kind="promotion",
        from_version=expected,
        actor=actor,
        reason=reason,
        report=dict(report) if report is not None else None,
        **_origin(registry.version(name, version)),
    )


def recover(settings: Settings, registry: Registry, name: str) -> list[Promotion]:
    """Settle what an interrupted promotion of `name` left behind; return the lines that were settled or added.

    A champion that had moved already is kept and tidied up after; one that had not stays. A champion that somebody
    changed past Meritorder gets a line of its own.
    """
    migrate(settings)
    with _alone(settings, name):
        return _reconcile(settings, registry, name)


def _move(settings: Settings, registry: Registry, entry: Mapping[str, Any]) -> Promotion:
    try:
        registry.fetch(entry["model"], entry["to_version"])
    except IntegrityFailed as error:
        ledger.append(settings, state="failed", detail=error.message, **entry)
        raise
    line = ledger.append(settings, state="intended", **entry)
    try:
        registry.set_alias(line.name, CHAMPION, entry["to_version"])  # the commit point
        _tidy(registry, line)
        return ledger.settle(settings, line.id, "done", None)
    except Exception as error:
        # Whether the alias moved is the registry's to say: an answer may be lost after the deed was done.
        try:
            settled = _settle(settings, registry, line, str(error))
        except Exception:  # noqa: BLE001
            raise error from None  # the line stays intended, for the next call or `recover`
        if settled.state != "done":
            raise
        return settled


def _tidy(registry: Registry, line: Promotion) -> None:
    previous = registry.alias(line.name, PREVIOUS)
    if line.from_version is not None and previous != line.from_version:
        try:
            registry.set_alias(line.name, PREVIOUS, line.from_version)
        except UnknownVersion:
            registry.delete_alias(line.name, PREVIOUS)
    elif line.from_version is None and previous == line.to_version:
        registry.delete_alias(line.name, PREVIOUS)  # a champion is never its own predecessor
    if registry.alias(line.name, CHALLENGER) == line.to_version:
        registry.delete_alias(line.name, CHALLENGER)


def _settle(settings: Settings, registry: Registry, line: Promotion, why: str) -> Promotion:
    if registry.alias(line.name, CHAMPION) == line.to_version:
        _tidy(registry, line)
        return ledger.settle(settings, line.id, "done", f"Finished afterwards: {why}")
    return ledger.settle(settings, line.id, "failed", f"The champion did not change: {why}")


def _reconcile(settings: Settings, registry: Registry, name: str) -> list[Promotion]:
    """Bring ledger and registry together. Call while holding the model: an intended line's process is then gone."""
    waiting = ledger.lines(settings, name, "intended")
    changed = [_settle(settings, registry, line, "it was interrupted.") for line in waiting]
    known = next((line.to_version for line in reversed(ledger.lines(settings, name, "done"))), None)
    champion = registry.alias(name, CHAMPION)
    if champion != known:
        try:
            origin = _origin(registry.version(name, champion)) if champion is not None else {"model": name}
        except (UnknownModel, UnknownVersion):
            origin = {"model": name, "to_version": champion}
        line = ledger.append(
            settings,
            state="done",
            kind="external",
            from_version=known,
            actor="unknown",
            reason="The alias champion was changed past Meritorder.",
            **origin,
        )
        if champion is not None:
            _tidy(registry, line)
        changed.append(line)
    return changed


def _origin(version: VersionInfo) -> dict[str, Any]:
    return {
        "model": version.name,
        "to_version": version.version,
        "artifact_sha256": version.tags.get("sha256"),
        "dataset_digest": version.tags.get("dataset_digest"),
        "run_id": version.run_id or None,
    }


@contextmanager
def _alone(settings: Settings, name: str) -> Iterator[None]:
    """Hold the model `name` against every other promotion."""
    with ExitStack() as held:
        try:
            held.enter_context(_lock(settings, name))
        except (ServiceUnavailable, OperationalError) as error:
            if isinstance(error, OperationalError) and "lock timeout" not in str(error.orig):
                raise
            raise PromotionConflict(
                f"Another promotion of {name!r} has been running for {LOCK_SECONDS} s.",
                remedy="Wait for it to finish, then try again.",
                field="name",
                value=name,
            ) from error
        yield


@contextmanager
def _lock(settings: Settings, name: str) -> Iterator[None]:
    url = database_url(settings)
    if url.get_backend_name() == "sqlite":
        # Any name of a model is the name of a file in this form.
        file = hashlib.sha256(name.encode()).hexdigest()[:16]
        with file_lock(Path(f"{url.database}.locks") / f"{file}.lock", timeout=LOCK_SECONDS):
            yield
        return
    # Its own connection: lines of the ledger are committed elsewhere while this transaction stays open.
    with engine(settings).begin() as connection:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        connection.execute(insert(PromotionLockRow).values(model=name).on_conflict_do_nothing())
        connection.execute(sa.select(PromotionLockRow).where(PromotionLockRow.model == name).with_for_update())
        yield


def _called(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
