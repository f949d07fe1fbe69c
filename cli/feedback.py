"""`merit feedback`: say what an answer was worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.api_client import Api, Url
from cli.output import AsJson, dump, screen
from store.errors import FileUnreadable, InvalidValue


def feedback(
    call: Annotated[
        str, typer.Argument(metavar="CALL", help="Id that `merit chat` shows at its end.", show_default=False)
    ],
    up: Annotated[bool, typer.Option("--up", help="Thumb up.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Thumb down.")] = False,
    stars: Annotated[int | None, typer.Option(help="1 to 5.", min=1, max=5)] = None,
    score: Annotated[float | None, typer.Option(help="0 to 1.", min=0, max=1)] = None,
    edit: Annotated[Path | None, typer.Option(help="File with what was made of the answer.")] = None,
    comment: Annotated[str | None, typer.Option(help="In your words.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Judge an answer; the strategy `preferred` learns from it."""
    body: dict[str, Any] = {"call": call, "stars": stars, "score": score, "comment": comment}
    if up and down:
        raise InvalidValue("Thumb up and thumb down at once.", remedy="Give one of --up and --down.", field="thumb")
    if up or down:
        body["thumb"] = "up" if up else "down"
    if edit is not None:
        body["edit"] = _text(edit)
    body = {name: value for name, value in body.items() if value is not None}
    told = Api(url).post("/v1/llm/feedback", body)
    if as_json:
        dump(told)
        return
    screen.print(f"{told['source']}: {told['score']:.0%}, kept as {told['id']}.", highlight=False, markup=False)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise FileUnreadable(
            f"{path} cannot be read: {reason}.", remedy="Name a text file.", field="edit", value=str(path)
        ) from None
