"""`merit optimise-prompt`: fewer tokens at the same meaning."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cli.api_client import Api, Url
from cli.output import AsJson, dump, errors, screen, show
from cli.parsing import names
from store.errors import FileUnreadable, InvalidValue
from store.settings import load_settings

if TYPE_CHECKING:
    from gateway.improve.prompts.optimise import Optimised, Options

_COSTS_SHOWN = 6


def optimise_prompt(
    file: Annotated[
        Path,
        typer.Argument(
            help="A request (.json), requests one a line (.jsonl), or instructions as plain text.", show_default=False
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Write the result here.", dir_okay=False)] = None,
    repeated_data: Annotated[
        bool, typer.Option("--repeated-data", help="Leave out repeated passages also where they hold data.")
    ] = False,
    history: Annotated[
        int | None,
        typer.Option(help="Messages at the end that stay whole; answers before them are compacted.", min=1),
    ] = None,
    order: Annotated[bool, typer.Option("--order/--no-order", help="Move what changes behind what is stable.")] = True,
    validate: Annotated[
        str | None,
        typer.Option(help="Models of a running API that answer both ways, e.g. simulated/small.", show_default=False),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Shorten a prompt without changing what it says; code, quotations and data stay byte for byte.

    Told are every change, tokens before and after, and dollars at each configured model. Where standard output is no
    terminal, the result alone goes there, unless --out, --validate or --json say otherwise.
    """
    if out is not None:
        _check(out)
    from gateway.configuration import load_configuration
    from gateway.improve.prompts.optimise import Options, optimise

    bodies, plain = _read(file)
    options = Options(repeated_data=repeated_data, history=history, order=order)
    found = [optimise(body, options) for body in bodies]
    models = load_configuration(load_settings()).models.values()
    written = _written(found, plain=plain, lines=file.suffix == ".jsonl")
    if out is not None:
        out.write_bytes(written.encode())
    validated = [] if validate is None else _validated(bodies, names(validate), options, Api(url))
    if as_json:
        dump([_json(one, list(models)) for one in found] if validate is None else validated)
        return
    before, after = sum(one.tokens_before for one in found), sum(one.tokens_after for one in found)
    share = 1 - after / before if before else 0.0
    stable = sum(one.stable_before for one in found), sum(one.stable_after for one in found)
    summary = (
        f"{before:,} tokens before, {after:,} after ({share:.1%} less); stable at the beginning: "
        f"{stable[0]:,} before, {stable[1]:,} after."
    )
    if out is None and validate is None and not screen.is_terminal:
        errors.print(summary, highlight=False)
        # Not by the console, which would fold long lines.
        sys.stdout.write(written)
        return
    changes = [
        {"prompt": number + 1, "message": change.message + 1, "what": change.what, "tokens": -change.tokens,
         "why": change.words}
        for number, one in enumerate(found)
        for change in one.changes
    ]  # fmt: skip
    show(changes, ["prompt", "message", "what", "tokens", "why"], as_json=False)
    screen.print(summary, highlight=False)
    show(_costs(found, list(models)), ["model", "before", "after", "after, cached"], as_json=False,
         title=f"Dollars of {len(found):,} prompt{'s' if len(found) > 1 else ''}, a thousand times over")  # fmt: skip
    if validated:
        columns = ["model", "prompts", "score_before", "score_after", "difference", "verdict"]
        show([{**row, "difference": {**row, "value": row["difference"]}} for row in validated], columns, as_json=False)
    if out is not None:
        errors.print(f"→ {out}", highlight=False, markup=False)


def _check(out: Path) -> None:
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise InvalidValue(f"{out} cannot be written.", remedy="Name a file in a folder that exists.", field="out")


def _read(file: Path) -> tuple[list[Mapping[str, Any]], bool]:
    """Requests in a file, and whether it is instructions alone."""
    try:
        # As bytes: reading as text would make other line breaks of some.
        text = file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise FileUnreadable(
            f"{file} cannot be read: {reason}.", remedy="Name a text file.", field="file", value=str(file)
        ) from None
    if not text.strip():
        raise InvalidValue(f"{file} is empty.", remedy="Give a prompt, or requests.", field="file", value=str(file))
    if file.suffix not in (".json", ".jsonl"):
        return [{"messages": [{"role": "system", "content": text}]}], True
    lines = text.splitlines() if file.suffix == ".jsonl" else [text]
    bodies: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            body = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InvalidValue(
                f"Line {number} of {file} is not valid JSON: {error.msg}.", remedy="Correct it.", field="file",
                value=str(file),
            ) from None  # fmt: skip
        # A line of a batch file holds its request as `body`.
        body = body.get("body", body) if isinstance(body, dict) else body
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            raise InvalidValue(
                f"Line {number} of {file} holds no request with `messages`.",
                remedy="Give bodies of chat completions, or instructions as a .txt file.",
                field="file",
                value=str(file),
            )
        bodies.append(body)
    if not bodies:
        raise InvalidValue(f"{file} holds no request.", remedy="Give at least one.", field="file", value=str(file))
    return bodies, False


def _written(found: list[Optimised], *, plain: bool, lines: bool) -> str:
    if plain:
        return str(found[0].body["messages"][0]["content"])
    if lines:
        return "".join(orjson.dumps(one.body).decode() + "\n" for one in found)
    return orjson.dumps(found[0].body, option=orjson.OPT_INDENT_2).decode() + "\n"


def _json(one: Optimised, models: list[Any]) -> dict[str, Any]:
    return {
        "request": one.body,
        "tokens_before": one.tokens_before,
        "tokens_after": one.tokens_after,
        "stable_before": one.stable_before,
        "stable_after": one.stable_after,
        "changes": [change.to_dict() for change in one.changes],
        "costs": one.costs(models),
    }


def _costs(found: list[Optimised], models: list[Any]) -> list[dict[str, Any]]:
    """Dollars of a thousand times all prompts, of the models that charge most."""
    sums: dict[str, dict[str, Any]] = {}
    for one in found:
        for row in one.costs(models):
            mine = sums.setdefault(row["model"], {"model": row["model"], "before": 0.0, "after": 0.0,
                                                  "after, cached": 0.0})  # fmt: skip
            for name, key in (("before", "before"), ("after", "after"), ("after, cached", "after_cached")):
                mine[name] += 1_000 * row[key]
    return sorted(sums.values(), key=lambda row: -row["before"])[:_COSTS_SHOWN]


def _validated(
    bodies: list[Mapping[str, Any]], models: tuple[str, ...], options: Options, api: Api
) -> list[dict[str, Any]]:
    from gateway.improve.prompts.validation import validate

    async def ask(_: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await asyncio.to_thread(api.post, "/v1/chat/completions", {**body, "stream": False})
        return answer

    return [one.to_dict() for one in asyncio.run(validate(bodies, models, ask, options=options))]
