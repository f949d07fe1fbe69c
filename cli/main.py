"""The `merit` command: one file per group of commands, put together here."""

from __future__ import annotations

import gc
import logging
import sys
import warnings

import typer

from cli import (
    anomalies,
    backfill,
    batch,
    bench_models,
    budgets,
    chat,
    decompose,
    demo,
    doctor,
    feedback,
    finetune,
    forecast,
    gateway,
    gateway_operation,
    ingest,
    insights,
    keys,
    monitor,
    optimise_prompt,
    predict,
    price,
    recommend,
    registry,
    retain,
    route,
    score,
    segment,
    spend,
    train,
    up,
    usage,
    world,
)
from cli.output import complain, exit_code
from store.errors import MeritError

EPILOG = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage or unsuitable data, 3 no such model, version or id, "
    "4 not allowed, 5 a server does not answer, 130 interrupted."
)

app = typer.Typer(
    name="merit",
    help="Models that earn their place: from raw data to a promoted model answering requests.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("world")(world.world)
app.command("ingest")(ingest.ingest)
app.add_typer(train.app, name="train")
app.command("forecast")(forecast.forecast)
app.command("decompose")(decompose.decompose)
app.add_typer(predict.app, name="predict")
app.command("retain")(retain.retain)
app.command("segment")(segment.segment)
app.command("price")(price.price)
app.command("anomalies")(anomalies.anomalies)
app.command("score")(score.score)
app.command("chat")(chat.chat)
app.command("route")(route.route)
app.command("feedback")(feedback.feedback)
app.add_typer(batch.app, name="batch")
app.command("bench-models")(bench_models.bench_models)
app.add_typer(finetune.app, name="finetune")
app.command("usage")(usage.usage)
app.command("insights")(insights.insights)
app.add_typer(budgets.app, name="budgets")
app.add_typer(spend.app, name="spend")
app.add_typer(recommend.app, name="recommend")
app.command("optimise-prompt")(optimise_prompt.optimise_prompt)
for operation in (
    gateway_operation.drain,
    gateway_operation.undrain,
    gateway_operation.reset,
    gateway_operation.probe,
    gateway_operation.reload,
):
    gateway.app.command()(operation)
app.add_typer(gateway.app, name="gateway")
app.add_typer(registry.app, name="registry")
app.command("monitor")(monitor.monitor)
app.add_typer(monitor.shadow, name="shadow")
app.command("backfill")(backfill.backfill)
app.add_typer(keys.app, name="keys")


def main() -> None:
    """Entry point: errors of ours become one message on standard error and an exit code."""
    # What libraries make when they are imported stays. By Python's own thresholds it is walked over so often that a
    # training takes a tenth longer.
    gc.set_threshold(20_000, 20, 50)
    # Libraries warn about their own environment; a person at a prompt can do nothing about it.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
    logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
    try:
        app()
    except MeritError as error:
        complain(error)
        sys.exit(exit_code(error))
    except BrokenPipeError:
        # The reader went away (`merit … | head`): nothing more to say, and no traceback about it.
        sys.stderr.close()
        sys.exit(141)
