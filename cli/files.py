"""Results written to files, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

WRITERS = (".csv", ".parquet", ".json")


def check_writable(path: Path | None) -> None:
    """Refuse an output that cannot be written, before the work and not after it.

    Raises
    ------
    InvalidValue : its folder does not exist, it is a folder, or its ending is unknown.
    """
    if path is None:
        return
    if path.suffix.lower() not in WRITERS:
        raise InvalidValue(
            f"{path}: the ending {path.suffix!r} is unknown.", remedy=f"Use one of {', '.join(WRITERS)}.", field="out"
        )
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise InvalidValue(f"{path} cannot be written.", remedy="Name a file in a folder that exists.", field="out")


def check_plot(plot: Path | None) -> None:
    """Refuse a picture that cannot be written, before the work and not after it.

    Raises
    ------
    InvalidValue : its folder does not exist, or its ending is not .png.
    """
    if plot is not None and (plot.suffix.lower() != ".png" or not plot.absolute().parent.is_dir()):
        raise InvalidValue(
            f"--plot {plot} cannot be written.",
            remedy="Name a file that ends in .png, in a folder that exists.",
            field="plot",
            value=str(plot),
        )


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, Parquet or JSON, by the file's ending."""
    kind = path.suffix.lower()
    partial = path.with_name(f".{path.name}.partial")
    try:
        if kind == ".parquet":
            frame.to_parquet(partial, index=False)
        elif kind == ".json":
            frame.to_json(partial, orient="records", date_format="iso", indent=1)
        else:
            _without_lists(frame).to_csv(partial, index=False)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _without_lists(frame: pd.DataFrame) -> pd.DataFrame:
    """Several texts in one cell as people write them: a CSV file knows no lists."""

    def written(value: Any) -> Any:
        several = isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1
        return "; ".join(map(str, value)) if several else value

    mixed = {str(name): column.map(written) for name, column in frame.items() if column.dtype == object}
    return frame.assign(**mixed)


def write_json(body: Any, path: Path) -> None:
    """Write a JSON document."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(body, indent=1, default=str, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
