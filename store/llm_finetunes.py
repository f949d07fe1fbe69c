"""Fine-tunes as rows: whoever works on one claims it, says how far it is after each step, and another can go on.

prepared → submitting → running → evaluating → admitted, rejected or failed
           submitting, running, evaluating → cancelling → cancelled
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store.database import migrate, session
from store.errors import StateConflict, UnknownEntity
from store.pages import Page, newest, storable
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.tuning import FinetuneRow

State = Literal[
    "prepared", "submitting", "running", "evaluating", "admitted", "rejected", "failed", "cancelling", "cancelled"
]
ACTIVE: tuple[State, ...] = ("submitting", "running", "evaluating", "cancelling")
_MOST_EVENTS = 500


@dataclass(frozen=True, kw_only=True)
class Finetune:
    """One fine-tune.

    Attributes
    ----------
    workspace : the only one whose answers are learned from; None: all that keep them.
    task : creative, analytical, conversational, a domain, or a tag as `tag:NAME`.
    examples : ids of calls, `train` and `validation`.
    plan : what was collected and left out; tokens, epochs.
    tenant : in whose name it is paid for; fields of `gateway.prompt.Tenant`.
    expected, max_cost, cost : nanos: expected, the most that it may cost, and spent, the evaluation among it.
    upstream : the provider's ids: `training_file`, `validation_file`, `job`, `status`, `model`, `trained_tokens`.
    events : of the provider and of ours, oldest first: `at`, `level`, `message`.
    report : the comparison with the base model and the gate's verdict.
    """

    id: str = field(default_factory=new_id)
    workspace: str | None
    name: str
    state: State = "prepared"
    base_model: str
    task: str
    options: Mapping[str, Any]
    examples: Mapping[str, Sequence[str]]
    plan: Mapping[str, Any]
    tenant: Mapping[str, Any]
    expected: int
    max_cost: int | None = None
    cost: int = 0
    upstream: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    report: Mapping[str, Any] | None = None
    error: str | None = None
    created_by: str | None = None
    created_at: datetime = field(default_factory=utc_now)
    updated_at: datetime = field(default_factory=utc_now)
    submitted_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state not in ACTIVE and self.state != "prepared"


def create(settings: Settings, made: Finetune) -> None:
    """Keep a new fine-tune."""
    migrate(settings)
    values = asdict(made)
    values["events"] = list(made.events)
    for name in ("name", "task"):
        values[name] = storable(values[name])
    with session(settings) as opened:
        opened.add(FinetuneRow(**values))


def get(settings: Settings, finetune_id: str, workspace: str | None = None) -> Finetune:
    """One fine-tune.

    Parameters
    ----------
    workspace : the only one whose rows may be seen; None: all.

    Raises
    ------
    UnknownEntity : there is none of that id, there.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        return _finetune(_found(opened, finetune_id, workspace))


def page(
    settings: Settings, *, workspace: str | None = None, limit: int = 100, cursor: str | None = None
) -> Page[Finetune]:
    """Fine-tunes, newest first.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    migrate(settings)
    query = sa.select(FinetuneRow)
    if workspace is not None:
        query = query.where(FinetuneRow.workspace == storable(workspace))
    return newest(settings, query, FinetuneRow.id, _finetune, limit=limit, cursor=cursor)


def submit(settings: Settings, finetune_id: str, *, max_cost: int | None, workspace: str | None = None) -> Finetune:
    """Let it be submitted by whichever gateway takes it up.

    Raises
    ------
    UnknownEntity : there is none of that id, there.
    StateConflict : it was submitted before.
    """
    migrate(settings)
    with session(settings) as opened:
        row = _found(opened, finetune_id, workspace, lock=True)
        if row.state != "prepared":
            raise _conflict(row, "Prepare another one: what was kept meanwhile counts, too.")
        now = utc_now()
        row.state, row.max_cost, row.submitted_at, row.updated_at = "submitting", max_cost, now, now
        return _finetune(row)


def cancel(settings: Settings, finetune_id: str, workspace: str | None = None) -> Finetune:
    """Ask for it to be ended. Cancelling one that is being cancelled changes nothing.

    Raises
    ------
    UnknownEntity : there is none of that id, there.
    StateConflict : it has ended.
    """
    migrate(settings)
    with session(settings) as opened:
        row = _found(opened, finetune_id, workspace, lock=True)
        if row.state == "prepared":
            row.state, row.finished_at = "cancelled", utc_now()
        elif row.state in ACTIVE:
            row.state = "cancelling"
        else:
            raise _conflict(row, "Only one that has not ended can be cancelled.")
        row.updated_at = utc_now()
        return _finetune(row)


def claim(settings: Settings, owner: str, seconds: float) -> Finetune | None:
    """Take the oldest one that is to be worked on and that nobody works on; None where there is none."""
    query = sa.select(FinetuneRow).where(FinetuneRow.state.in_(ACTIVE)).order_by(FinetuneRow.id).limit(1)
    now = utc_now()
    free = query.where(sa.or_(FinetuneRow.claimed_until.is_(None), FinetuneRow.claimed_until <= now))
    with session(settings, readonly=True) as opened:
        # SQLite has one writer: it is not disturbed while there is nothing to do.
        if opened.scalar(free.with_only_columns(FinetuneRow.id)) is None:
            return None
    with session(settings) as opened:
        row = opened.scalar(free.with_for_update(skip_locked=True))
        if row is None:
            return None
        row.claimed_by, row.claimed_until = owner, now + timedelta(seconds=seconds)
        return _finetune(row)


def change(
    settings: Settings,
    finetune_id: str,
    owner: str,
    *,
    hold_s: float = 60.0,
    upstream: Mapping[str, Any] | None = None,
    told: Sequence[Mapping[str, Any]] = (),
    spent: int = 0,
    **values: Any,
) -> Finetune | None:
    """Say how far it is; None when it is no longer this owner's. A state is not set where somebody cancelled it, but
    for an end.

    Parameters
    ----------
    upstream : added to what is known of the provider's side.
    told : events, added.
    spent : nanos, added.
    """
    with session(settings) as opened:
        row = opened.get(FinetuneRow, finetune_id, with_for_update=True)
        if row is None or row.claimed_by != owner:
            return None
        if row.state == "cancelling" and values.get("state") in ACTIVE:
            values.pop("state")
        row.upstream = {**row.upstream, **(upstream or {})}
        if told:
            row.events = [*row.events, *map(dict, told)][-_MOST_EVENTS:]
        row.cost += spent
        for name, value in values.items():
            setattr(row, name, value)
        row.updated_at = now = utc_now()
        ended = row.state not in ACTIVE
        row.claimed_by, row.claimed_until = (None, None) if ended else (owner, now + timedelta(seconds=hold_s))
        if ended:
            row.finished_at = now
        return _finetune(row)


def release(settings: Settings, owner: str | None, finetune_id: str | None = None, *, seconds: float = 0.0) -> None:
    """Work no longer on one, or on any; for so many seconds nobody is to take it up.

    Parameters
    ----------
    owner : None: nobody does, where no other gateway can.
    """
    mine = [FinetuneRow.claimed_by.is_not(None) if owner is None else FinetuneRow.claimed_by == owner]
    if finetune_id is not None:
        mine.append(FinetuneRow.id == finetune_id)
    until = utc_now() + timedelta(seconds=seconds) if seconds else None
    with session(settings) as opened:
        opened.execute(sa.update(FinetuneRow).where(*mine).values(claimed_by=None, claimed_until=until))


def _found(opened: Session, finetune_id: str, workspace: str | None, *, lock: bool = False) -> FinetuneRow:
    query = sa.select(FinetuneRow).where(FinetuneRow.id == storable(finetune_id))
    if workspace is not None:
        query = query.where(FinetuneRow.workspace == storable(workspace))
    row = opened.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise UnknownEntity(
            f"There is no fine-tune {finetune_id[:64]!r}.",
            remedy="`GET /v1/finetunes` lists those that there are.",
            field="finetune_id",
            value=finetune_id[:64],
        )
    return row


def _conflict(row: FinetuneRow, remedy: str) -> StateConflict:
    return StateConflict(f"The fine-tune {row.id} is {row.state}.", remedy=remedy, field="state", value=row.state)


def _finetune(row: FinetuneRow) -> Finetune:
    return Finetune(**{one.name: getattr(row, one.name) for one in fields(Finetune)})
