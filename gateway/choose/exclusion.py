"""What is said when the limits leave no model: which limit excluded each, how many in all, and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from store.errors import NoCandidate

_SHOWN = 6
# Beginning of a reason → what to do about it. A model that failed at a later check is closer to being admitted, so the
# remedy is for the last of these that excluded any.
_REMEDIES = {
    "for ": "Ask for a model of the right kind.",
    "not allowed in this workspace": "Ask for one that the workspace allows, or have an admin allow more.",
    "provider not asked for": "Name more providers in merit.providers, or none.",
    "excluded by the request": "Exclude less in merit.exclude.",
    "not local": "Configure a local provider that can do it, or ask without private or merit.local_only, in another "
    "conversation where this one has been private: what was said there stays.",
    "region unknown": "State the provider's region in providers.toml, or ask without merit.regions.",
    "in another region": "Name another region in merit.regions, or configure a provider there.",
    "lacks ": "Ask without what it lacks, or configure a model that can do it.",
    "context too small": "Shorten the prompt, lower max_tokens, or configure a model with a longer context.",
    "answers too short": "Lower max_tokens.",
    "too dear": "Raise merit.max_cost, lower max_tokens, or shorten the prompt.",
    "not good enough": "Lower merit.min_quality.",
    "too slow": "Raise merit.max_latency_ms.",
    "unavailable": "Try again in a moment; `/v1/llm/health` shows how each model does.",
}


def no_candidate(asked: str, kind: str, excluded: Mapping[str, str]) -> NoCandidate:
    """The error for a prompt that no model may answer.

    Parameters
    ----------
    asked : the model field of the request.
    excluded : id → why it may not, as `gateway.choose.limits.admitted` says it.
    """
    if not excluded:
        return NoCandidate(
            f"No model for {kind} is configured.",
            remedy="Add one to providers.toml; `merit gateway check` explains every error in it.",
            field="model",
            value=asked,
            details={"excluded": {}, "limits": {}, "unavailable": False},
        )
    counts = Counter(reason.partition(":")[0] for reason in excluded.values())
    if len(excluded) <= _SHOWN:
        told = "; ".join(f"{model} ({reason})" for model, reason in excluded.items())
    else:
        told = ", ".join(f"{count} × {reason}" for reason, count in counts.most_common())
    return NoCandidate(
        f"No model may answer {asked!r}: {told}.",
        remedy=next(
            (
                remedy
                for beginning, remedy in reversed(_REMEDIES.items())
                if any(reason.startswith(beginning) for reason in counts)
            ),
            "Ask with fewer limits.",
        ),
        field="model",
        value=asked,
        details={
            "excluded": dict(excluded),
            "limits": dict(counts),
            # Only time is needed: nothing is wrong with the request.
            "unavailable": "unavailable" in counts,
        },
    )
