"""What a line of the journal looks like.

`O`: a call is about to be made. `C`: a call has ended. `W`: the words of a call. A line is its letter and JSON texts
with tabs between them, which JSON never holds, so that the texts go into the database as they are.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from gateway.account.contents import Content
from gateway.account.record import Attempt, CallRecord
from gateway.prompt import Tenant
from gateway.usage import Usage
from store.llm_calls import COLUMNS

# COLUMNS that are JSON texts come last, each in a field of its own.
JSON_FIELDS = 4
CONTENT_FIELDS = 7
_EMPTY = b"[]"
_NAMES = COLUMNS[:-JSON_FIELDS]
# Why a call that the gateway did not live to end has no answer.
INTERRUPTED = "interrupted"


def opened(
    call_id: str,
    at: datetime,
    tenant: Tenant,
    kind: str,
    asked: str,
    strategy: str,
    model: str | None,
    provider: str | None,
    reserved: int,
    parent: str | None,
) -> bytes:
    """The line of a call that is about to be made."""
    values = (
        call_id, at.isoformat(" ", "microseconds"), tenant.organisation, tenant.workspace, tenant.project, tenant.user,
        tenant.key_id, tenant.key_name, kind, asked, strategy, model, provider, reserved, parent,
    )  # fmt: skip
    return b"O\t" + _dumps(values) + b"\n"


def closed(record: CallRecord) -> bytes:
    """The line of a call that has ended."""
    tenant, usage = record.tenant, record.usage
    values = (
        record.id, record.at.isoformat(" ", "microseconds"), tenant.organisation, tenant.workspace, tenant.project,
        tenant.user, tenant.key_id, tenant.key_name, record.kind, record.asked, record.strategy, record.outcome,
        record.model, record.provider, usage.input, usage.cached, usage.cache_write, usage.output, usage.reasoning,
        usage.audio_input, usage.audio_output, usage.estimated, record.cost, record.reserved, record.latency_ms,
        record.first_token_ms, record.overhead_ms, record.stream, record.error, record.finish_reason,
        record.complexity, record.domain, record.confidence, record.propensity, record.explored, record.policy,
        record.cache, record.parent, record.conversation, record.batch, record.request_id, record.quality,
    )  # fmt: skip
    return b"C\t%b\t%b\t%b\t%b\t%b\n" % (
        _dumps(values),
        _dumps(record.tags) if record.tags else _EMPTY,
        _dumps([one.explain() for one in record.attempts]) if record.attempts else _EMPTY,
        _dumps(record.decision) if record.decision is not None else b"",
        _dumps(record.extra) if record.extra else b"",
    )


def kept(content: Content, at: datetime) -> bytes:
    """The line of what was said."""
    values = (content.id, at.isoformat(" ", "microseconds"), content.workspace, content.user, content.key_id)
    answer = b64encode(content.answer) if content.answer is not None else b""
    return b"W\t%b\t%b\t%b\n" % (_dumps(values), b64encode(content.prompt), answer)


def id_of(line: bytes) -> bytes:
    """The call that a line `O` or `C` is about, as it is written there."""
    return line[4 : line.find(b'"', 4)]


def rows(data: bytes) -> Iterator[tuple[Any, ...]]:
    """The calls that have ended among lines, as rows of `COLUMNS`."""
    for line in data.split(b"\n"):
        if line[:2] == b"C\t":
            yield row_of(line)


def row_of(line: bytes) -> tuple[Any, ...]:
    """A line `C` as a row of `COLUMNS`.

    Raises
    ------
    ValueError : it is none.
    """
    letter, values, tags, attempts, decision, extra = line.split(b"\t")
    row = (
        *orjson.loads(values),
        tags.decode(),
        attempts.decode(),
        decision.decode() if decision else None,
        extra.decode() if extra else None,
    )
    if letter != b"C" or len(row) != len(COLUMNS):
        raise ValueError("not a call that has ended")
    return row


def contents(data: bytes) -> Iterator[tuple[Any, ...]]:
    """What was said, among lines: id, at, workspace, user, id of the encryption key, prompt, answer."""
    if b"\nW\t" in data or data.startswith(b"W\t"):
        for line in data.split(b"\n"):
            if line[:2] == b"W\t":
                yield content_of(line)


def content_of(line: bytes) -> tuple[Any, ...]:
    """A line `W` as a row of contents.

    Raises
    ------
    ValueError : it is none.
    """
    _, values, prompt, answer = line.split(b"\t")
    row = (
        *orjson.loads(values),
        b64decode(prompt, validate=True),
        b64decode(answer, validate=True) if answer else None,
    )
    if len(row) != CONTENT_FIELDS:
        raise ValueError("not what was said")
    return row


def unknown(line: bytes) -> CallRecord:
    """What a line `O` that no `C` follows stands for: the call may have been made, and is charged what was reserved.

    Raises
    ------
    ValueError : it is none.
    """
    letter, _, text = line.partition(b"\t")
    if letter != b"O":
        raise ValueError("not a call that was opened")
    (
        call_id, at, organisation, workspace, project, user, key_id, key_name, kind, asked, strategy, model, provider,
        reserved, parent,
    ) = orjson.loads(text)  # fmt: skip
    return CallRecord(
        id=call_id,
        at=datetime.fromisoformat(at),
        tenant=Tenant(workspace, organisation, project, user, key_id, key_name),
        kind=kind,
        asked=asked,
        strategy=strategy,
        outcome="unknown",
        model=model,
        provider=provider,
        usage=Usage(estimated=True),
        cost=reserved,
        reserved=reserved,
        error=INTERRUPTED,
        parent=parent,
    )


def record(row: Sequence[Any]) -> CallRecord:
    """A row of `COLUMNS` as a record again, without its attempts, decision and the like."""
    value = dict(zip(_NAMES, row, strict=False))
    tenant = ("workspace", "organisation", "project", "user", "key_id", "key_name")
    tokens = ("input", "cached", "cache_write", "output", "reasoning", "audio_input", "audio_output")
    usage = Usage(**{name: value.pop(f"{name}_tokens") for name in tokens}, estimated=value.pop("estimated"))
    at = datetime.fromisoformat(value.pop("at"))
    return CallRecord(at=at, tenant=Tenant(*(value.pop(name) for name in tenant)), usage=usage, **value)


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_default)
    except TypeError:  # half a character, a number beyond 64 bits, a key that is no text
        return orjson.dumps(_plain(value))


def _default(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, Attempt):
        return value.explain()
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_plain(str(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, bool | float) or value is None:
        return value
    if isinstance(value, int):
        return max(-(2**63), min(2**63 - 1, value))
    return _plain(str(value))
