"""What is said when no attempt gave an answer: who was asked, what each one said, and when to come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.call.providers.wire import ProviderFailure
from gateway.call.run import Run
from gateway.choose.decision import Ranked
from store.errors import DeadlineExceeded, UpstreamFailed, UpstreamRefused


def refused(run: Run, choice: Ranked, failure: ProviderFailure) -> UpstreamRefused:
    """A provider says that the request itself is wrong."""
    error = UpstreamRefused(
        f"{choice.model.id} refuses the request: {failure.message}",
        remedy="Correct the request; it is passed to the provider as it came.",
        details={"provider_error": failure.body, "attempts": [one.explain() for one in run.attempts]},
    )
    error.status = failure.status if failure.status is not None and 400 <= failure.status < 500 else 400
    return error


def failed(
    run: Run, failures: Sequence[ProviderFailure], closed: Mapping[str, str], ready_in: float | None
) -> UpstreamFailed:
    """Every attempt failed, or none was let through.

    Parameters
    ----------
    closed : model → why it was not asked.
    ready_in : seconds until one of them may be asked again; None: nobody knows.
    """
    asked = {one.model for one in run.attempts}
    told = [f"{one.model}: {one.failure} ({one.message})" for one in run.attempts if one.failure]
    told += [f"{model}: not asked, {why}" for model, why in closed.items() if model not in asked]
    waits = [one.retry_after for one in failures if one.retry_after is not None]
    return UpstreamFailed(
        f"No model answered {run.prompt.model!r}. {'; '.join(told) or 'None is available now'}.",
        remedy="Try again later, or allow other models; `/v1/llm/health` shows how each one does.",
        field="model",
        value=run.prompt.model,
        retry_after=min(waits) if waits else ready_in,
        details={
            "attempts": [one.explain() for one in run.attempts],
            "overloaded": bool(failures) and all(one.kind == "overloaded" for one in failures),
            "unavailable": bool(closed) and not failures,
        },
    )


def late(run: Run) -> DeadlineExceeded:
    """The caller's time is up."""
    return DeadlineExceeded(
        f"{run.prompt.model!r} was not answered within the time given: {run.elapsed_ms() / 1000:.3g} s are over.",
        remedy="Give it more time in `merit.timeout_s`, or choose a faster model (`fastest`).",
        field="merit.timeout_s",
        details={"attempts": [one.explain() for one in run.attempts]},
    )
