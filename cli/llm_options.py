"""Options that `merit chat` and `merit route` share: the model and the limits of a prompt."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.parsing import names
from store.errors import InvalidValue

Ask = Annotated[str, typer.Argument(metavar="PROMPT", help="What to ask; - reads standard input.", show_default=False)]
Llm = Annotated[
    str,
    typer.Option("--model", help="auto, cheapest, fastest, best, private, ensemble/majority, or provider/model."),
]
System = Annotated[str | None, typer.Option(help="Instructions that come before the prompt.")]
MaxCost = Annotated[float | None, typer.Option(help="Dollars that the answer may cost.", min=0)]
MaxLatency = Annotated[float | None, typer.Option("--max-latency-ms", help="Expected until it is whole.", min=0)]
MinQuality = Annotated[float | None, typer.Option(help="Expected quality, 0 to 1.", min=0, max=1)]
Capabilities = Annotated[str | None, typer.Option(help="What the model must be able to do: code,vision.")]
LocalOnly = Annotated[bool, typer.Option("--local-only", help="Only models on your own machines.")]


def chat_body(
    prompt: str,
    *,
    model: str,
    system: str | None = None,
    max_cost: float | None = None,
    max_latency_ms: float | None = None,
    min_quality: float | None = None,
    capabilities: str | None = None,
    local_only: bool = False,
) -> dict[str, Any]:
    """A chat completion as the API takes it.

    Raises
    ------
    InvalidValue : there is nothing to ask.
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text.strip():
        raise InvalidValue("The prompt is empty.", remedy='Ask something: merit chat "…".', field="prompt")
    messages = [{"role": "system", "content": system}] if system else []
    body: dict[str, Any] = {"model": model, "messages": [*messages, {"role": "user", "content": text}]}
    limits: Mapping[str, Any] = {
        "max_cost": max_cost,
        "max_latency_ms": max_latency_ms,
        "min_quality": min_quality,
        "capabilities": list(names(capabilities)) or None,
        "local_only": local_only or None,
    }
    if given := {name: value for name, value in limits.items() if value is not None}:
        body["merit"] = given
    return body
