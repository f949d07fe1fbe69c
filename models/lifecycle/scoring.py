"""Scoring of every entity by one version, in shards: each step a typed function from files to files.

    <home>/scores/<model>/v<version>/<as of>/scores.parquet   the result, there as a whole or not at all
    <home>/scores/<model>/v<version>/<as of>/work-<key>/      rows and shards while it is being made

The key is a digest of the version, the rows and the code, so that a killed run is taken up by the next one only where
it would do the same. What travels between steps is a path and a range of rows.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from models import families
from models.families import Spec
from models.lifecycle.family import ScoresEntities
from models.lifecycle.registration import code_commit
from store import scores
from store.dataset import SnapshotRef
from store.errors import EmptyData, FileUnreadable, InvalidValue, NoChampion, TrainingError
from store.registry import Registry
from store.settings import Settings

SCORES = "scores.parquet"


@dataclass(frozen=True)
class Scorer:
    """The version that scores.

    Attributes
    ----------
    folder : its verified model.
    learned_until : the version's own `as_of`; None for one that was trained on a file.
    """

    spec: Spec
    version: int
    folder: str
    sha256: str
    learned_until: datetime | None = None


@dataclass(frozen=True)
class Rows:
    """Features of every entity, in order of their ids, one row group a shard.

    Attributes
    ----------
    folder : where the shards of these rows go.
    """

    path: str
    rows: int
    shard_rows: int
    folder: str

    @property
    def shards(self) -> int:
        return -(-self.rows // self.shard_rows)


@dataclass(frozen=True)
class Shard:
    """Scores of some of the rows, as a Parquet file."""

    path: str
    rows: int


def scorer_of(settings: Settings, name: str, version: int | None = None) -> Scorer:
    """The champion of a model, or the version named, with a verified copy of it.

    Raises
    ------
    UnknownModel, UnknownVersion : there is none.
    NoChampion : nothing was promoted yet.
    InvalidValue : its family says nothing about single entities.
    """
    registry = Registry(settings)
    registry.model(name)
    number = registry.alias(name, "champion") if version is None else version
    if number is None:
        raise NoChampion(
            f"{name!r} has no champion.",
            remedy="Train it until the gate promotes a version, or name one with --version.",
            field="name",
            value=name,
        )
    found = registry.version(name, number)
    spec = Spec(str(found.tags.get("family")), name)
    family = spec.build()
    if not isinstance(family, ScoresEntities):
        raise InvalidValue(
            f"{name!r} is of the family {spec.family}, which does not score entities.",
            remedy=f"Name a model of the family {' or '.join(scoring_families())}.",
            field="name",
            value=name,
        )
    until = found.tags.get("as_of")
    return Scorer(
        spec,
        number,
        str(registry.fetch(name, number)),
        found.sha256 or "",
        datetime.fromisoformat(until) if until else None,
    )


def scoring_families() -> list[str]:
    """Names of the families that score entities."""
    return [name for name in families.FAMILIES if isinstance(Spec(name, name).build(), ScoresEntities)]


def batch_folder(settings: Settings, scorer: Scorer, as_of: datetime) -> Path:
    """The folder of one batch: a model, a version, a moment."""
    moment = as_of.isoformat(timespec="microseconds" if as_of.microsecond else "seconds").replace(":", "")
    return settings.root / "scores" / scorer.spec.name / f"v{scorer.version}" / moment


def known_batch(settings: Settings, scorer: Scorer, snapshot: SnapshotRef) -> scores.ScoreBatch | None:
    """The batch, where this version scored this very data as of this moment before and its file is still there."""
    found = scores.batch(settings, scorer.spec.name, scorer.version, snapshot.as_of)
    whole = found is not None and found.snapshot == snapshot.digest and Path(found.uri).exists()
    return found if whole else None


def gather(scorer: Scorer, snapshot: SnapshotRef, folder: Path, shard_rows: int) -> Rows:
    """Write the features of every entity as of the snapshot's moment.

    Raises
    ------
    EmptyData : there is no entity.
    InvalidValue : the family keeps nothing of single entities, or a shard is to hold no row.
    """
    if shard_rows < 1:
        raise InvalidValue(
            f"shard_rows = {shard_rows}.", remedy="Give at least 1 row.", field="shard_rows", value=shard_rows
        )
    frame = scorer.spec.build().online(snapshot)
    if frame is None or frame.empty:
        raise EmptyData(
            f"Nobody can be scored by {scorer.spec.name!r} as of {snapshot.as_of.isoformat(sep=' ')}.",
            remedy="Choose a later moment, or load the tables with `merit ingest`.",
            field="as_of",
            value=snapshot.as_of.isoformat(),
        )
    frame = frame.sort_index(kind="stable")
    body = [scorer.sha256, code_commit(), snapshot.digest, snapshot.as_of.isoformat(), shard_rows]
    work = folder / f"work-{hashlib.sha256(repr(body).encode()).hexdigest()[:16]}"
    target = work / "rows.parquet"
    _write(frame, target, row_group_size=shard_rows)
    return Rows(str(target), len(frame), shard_rows, str(work))


def score_shard(scorer: Scorer, rows: Rows, number: int) -> Shard:
    """Score shard `number` of the rows, from 0; one that an earlier attempt finished is taken as it is.

    Raises
    ------
    TrainingError : the family did not answer for exactly the entities that it was given.
    """
    import pyarrow.parquet as pq

    target = Path(rows.folder) / f"shard-{number:06}.parquet"
    if target.exists():
        return Shard(str(target), pq.ParquetFile(target).metadata.num_rows)
    family = scorer.spec.build()
    assert isinstance(family, ScoresEntities)
    part = pq.ParquetFile(rows.path).read_row_group(number).to_pandas()
    found = family.score(family.load(Path(scorer.folder)), part)
    if not found.index.equals(part.index):
        raise TrainingError(
            f"The family {scorer.spec.family} was given {len(part)} entities to score and answered for {len(found)}, "
            "not the same ones in the same order.",
            remedy="Correct the family's `score`: it keeps the index of its rows.",
        )
    _write(found, target)
    return Shard(str(target), len(found))


def join(rows: Rows, shards: Sequence[Shard], folder: Path) -> Path:
    """All shards as one file.

    Raises
    ------
    FileUnreadable : a shard is gone or too short.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(one.path) for one in shards if Path(one.path).exists()]
    found = sum(table.num_rows for table in tables)
    if found != rows.rows:
        raise FileUnreadable(
            f"The shards in {rows.folder} hold {found} of {rows.rows} entities.",
            remedy="Score again.",
            field="path",
            value=rows.folder,
        )
    target = folder / SCORES
    # A column that is empty in one shard has no type there.
    whole = pa.concat_tables(tables, promote_options="permissive")
    _put(target, lambda draft: pq.write_table(whole, draft))
    return target


def read_scores(path: Path | str) -> pd.DataFrame:
    """The scores of a batch, entity id as the index; lists and dictionaries as such, not as arrays.

    Raises
    ------
    FileUnreadable : the file is gone or no longer Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise FileUnreadable(
            f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}", remedy="Score again.", field="path"
        ) from None
    frame: pd.DataFrame = table.to_pandas()
    for column in table.schema:
        if pa.types.is_nested(column.type):
            frame[column.name] = pd.Series(table[column.name].to_pylist(), index=frame.index, dtype=object)
    return frame


def keep(settings: Settings, scorer: Scorer, snapshot: SnapshotRef, path: Path, flow_run: str | None) -> int:
    """Write the joined scores into the database; see `store.scores.write`."""
    return scores.write(
        settings,
        scorer.spec.name,
        scorer.version,
        snapshot.as_of,
        read_scores(path),
        snapshot=snapshot.digest,
        uri=str(path),
        flow_run=flow_run,
    )


def tidy(folder: Path) -> None:
    """Remove what a batch was made from."""
    for work in folder.glob("work-*"):
        shutil.rmtree(work, ignore_errors=True)


def _write(frame: pd.DataFrame, target: Path, **options: Any) -> None:
    _put(target, lambda draft: frame.to_parquet(draft, **options))


def _put(target: Path, write: Callable[[Path], object]) -> None:
    """Write under a name of its own, then rename: a killed process leaves nothing that looks whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        write(draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
