"""From a wish to a fine-tune that can be submitted: examples counted, priced and kept by the ids of their calls."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from gateway.account.contents import Contents
from gateway.account.workspace_settings import DEFAULTS, WorkspaceSettings, parse
from gateway.choose.catalogue import Model
from gateway.choose.limits import why_not
from gateway.configuration.loading import Configuration
from gateway.improve.finetuning.chat_format import Written, check_enough, epochs_for, line_of, tokens_of, write
from gateway.improve.finetuning.duplicates import without_near_duplicates
from gateway.improve.finetuning.examples import Example, again, collect
from gateway.improve.finetuning.personal import without_personal_data
from gateway.improve.finetuning.splitting import FEWEST_GROUPS, split
from gateway.improve.finetuning.tasks import Selection
from gateway.money import dollars
from gateway.prompt import DEFAULT_WORKSPACE, Tenant
from gateway.usage import Usage
from store import llm_finetunes, workspaces
from store.errors import InvalidValue, UnknownLlm
from store.llm_finetunes import Finetune
from store.settings import Settings
from store.tables.base import utc_now

# As OpenAI has it: letters, digits and what joins them.
_SUFFIX = "abcdefghijklmnopqrstuvwxyz0123456789-"
_LONGEST_SUFFIX = 40


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be tuned on what.

    Attributes
    ----------
    base_model : id of a model that can be tuned.
    workspace : the only one whose answers are learned from; None: all that keep theirs and let the model have them.
    epochs : passes over the examples; None: as OpenAI reckons them.
    """

    base_model: str
    selection: Selection
    workspace: str | None
    name: str | None = None
    epochs: int | None = None


def tunable(configuration: Configuration, model_id: str) -> Model:
    """The model to be tuned.

    Raises
    ------
    UnknownLlm : there is none of that id.
    InvalidValue : it cannot be tuned.
    """
    model = configuration.models.get(model_id)
    can = sorted(one.id for one in configuration.models.values() if one.tuning is not None)
    remedy = f"Those that can are {', '.join(can)}." if can else "State `tuning` of a model in providers.toml."
    if model is None:
        raise UnknownLlm(
            f"There is no model {model_id[:200]!r}.", remedy=remedy, field="base_model", value=model_id[:200]
        )
    if model.tuning is None:
        raise InvalidValue(f"{model.id} cannot be tuned.", remedy=remedy, field="base_model", value=model.id)
    return model


def contributing(settings: Settings, model: Model, only: str | None) -> tuple[list[str], dict[str, str]]:
    """Workspaces whose words may be learned from, and why those of others may not.

    Keeping words is a workspace's choice, and so is where they may go: what it says of regions, of the own machines and
    of models holds for training as for every call.
    """
    known: dict[str, WorkspaceSettings] = {DEFAULT_WORKSPACE: DEFAULTS}
    known |= {one.name: parse(one.settings) for one in workspaces.every(settings)}
    allowed: list[str] = []
    left_out: dict[str, str] = {}
    for name, one in known.items():
        if only is not None and name != only:
            continue
        if one.keep == "nothing":
            left_out[name] = "keeps no words"
        elif one.local_only and not model.local:
            left_out[name] = "lets no words leave the own machines"
        elif one.regions and model.region not in one.regions:
            left_out[name] = f"keeps its data in {', '.join(sorted(one.regions))}"
        elif not one.allows(model.id):
            left_out[name] = f"does not allow {model.id}"
        elif (why := why_not(model, one.limits)) is not None:
            left_out[name] = f"has limits of its own: {why}"
        else:
            allowed.append(name)
    return allowed, left_out


def prepare(settings: Settings, configuration: Configuration, wish: Wish, tenant: Tenant, now: datetime) -> Finetune:
    """Collect, clean, split, count and price; nothing leaves the platform, and no words are kept.

    Returns
    -------
    The stored fine-tune, to be submitted; `plan` says what was left out and why, and what it is expected to cost.

    Raises
    ------
    UnknownLlm, InvalidValue : the model cannot be tuned, or there are too few examples.
    """
    model = tunable(configuration, wish.base_model)
    assert model.tuning is not None
    selection = wish.selection
    allowed, refused = contributing(settings, model, wish.workspace)
    if not allowed:
        why = "; ".join(f"{name} {reason}" for name, reason in refused.items()) or f"there is no {wish.workspace!r}"
        raise InvalidValue(
            f"No workspace's words may be learned from: {why}.",
            remedy="Let a workspace keep its words (`keep` = plain or encrypted), or name another one.",
            field="workspace",
            value=wish.workspace,
        )
    found = collect(settings, selection, allowed, model, now, Contents(settings).read)
    cleaned, removed = _without_personal_data(found.examples)
    # What was taken out may have been all that told two apart.
    distinct, alike = without_near_duplicates(cleaned, selection.likeness)
    chosen = distinct[: selection.most]
    learned, held, apart = split(chosen, selection.validation, settings.seed)
    training, validation = write(learned, model.tuning.longest), write(held, model.tuning.longest)
    left_out = found.left_out + Counter(
        {
            "nearly the same as a better one": alike,
            "more than were wanted": len(distinct) - len(chosen),
            "longer than the model takes": training.too_long + validation.too_long,
        }
    )
    _check(training, validation, found.left_out)
    epochs = wish.epochs or epochs_for(len(training.examples))
    cost = training_cost(model, training.tokens, epochs)
    asking = evaluation_cost(model, validation.examples)
    plan = {
        "found": len(found.examples),
        "left_out": {name: count for name, count in left_out.most_common() if count},
        "workspaces": sorted({one.workspace for one in training.examples}),
        "workspaces_left_out": refused,
        "personal_data_removed": dict(removed.most_common()),
        "training": _described(training),
        "validation": {**_described(validation), "groups": len({one.group for one in validation.examples})},
        "kept_apart_by": apart,
        "epochs": epochs,
        "tokens_billed": training.tokens * epochs,
        "cost": {"training": dollars(cost), "evaluation": dollars(asking), "total": dollars(cost + asking)},
        "digest": hashlib.sha256(training.content + b"\n" + validation.content).hexdigest(),
    }
    made = Finetune(
        workspace=wish.workspace,
        name=suffix_of(wish.name or selection.task),
        base_model=model.id,
        task=selection.task,
        options={**selection.to_dict(), "epochs": epochs, "as_of": now.isoformat()},
        examples={
            "train": [one.call for one in training.examples],
            "validation": [one.call for one in validation.examples],
            # Groups of those held out, by number: intervals are over them.
            "groups": _numbered([one.group for one in validation.examples]),
        },
        plan=plan,
        tenant=asdict(tenant),
        expected=cost + asking,
        created_by=tenant.key_name,
        created_at=utc_now(),
    )
    llm_finetunes.create(settings, made)
    return made


def rebuilt(settings: Settings, finetune: Finetune, model: Model) -> tuple[Written, list[tuple[Example, int]]]:
    """The file to learn from and the examples held out with their groups, from what is still kept of them.

    Whoever was erased since, and whose workspace has chosen otherwise, is not among them.
    """
    assert model.tuning is not None
    allowed, _ = contributing(settings, model, finetune.workspace)
    read = Contents(settings).read
    learned, _ = _without_personal_data(again(settings, finetune.examples["train"], allowed, model, read))
    held, _ = _without_personal_data(again(settings, finetune.examples["validation"], allowed, model, read))
    groups: Mapping[str, Any] = dict(
        zip(finetune.examples["validation"], finetune.examples.get("groups", ()), strict=False)
    )
    return write(learned, model.tuning.longest), [(one, int(groups.get(one.call, 0))) for one in held]


def training_cost(model: Model, tokens: int, epochs: int) -> int:
    """Nanos for going over so many tokens so often."""
    assert model.tuning is not None
    return round(tokens * epochs * model.tuning.training)


def evaluation_cost(model: Model, examples: Sequence[Example]) -> int:
    """Nanos for asking the base and the tuned model every example that is held out, about as long as its answer is."""
    assert model.tuning is not None
    total = 0
    for one in examples:
        whole = tokens_of(line_of(one))
        asked = tokens_of(line_of(replace(one, messages=one.messages[:-1])))
        usage = Usage(input=asked, output=max(1, whole - asked))
        total += model.price.cost(usage) + model.tuning.price.cost(usage)
    return total


def suffix_of(name: str) -> str:
    """What a tuned model is called after its base, of a name."""
    plain = "".join(one if one in _SUFFIX else "-" for one in name.lower())
    return "-".join(filter(None, plain.split("-")))[:_LONGEST_SUFFIX].strip("-") or "tuned"


def _without_personal_data(examples: Sequence[Example]) -> tuple[list[Example], Counter[str]]:
    removed: Counter[str] = Counter()
    made = []
    for one in examples:
        cleaned, found = without_personal_data(one)
        made.append(cleaned)
        removed += found
    return made, removed


def _check(training: Written, validation: Written, left_out: Counter[str]) -> None:
    groups = len({one.group for one in validation.examples})
    if len(training.examples) < 10 or groups < FEWEST_GROUPS - 2:
        why = ", ".join(f"{count} {name}" for name, count in left_out.most_common(4)) or "none"
        try:
            check_enough(training)
        except InvalidValue as few:
            raise InvalidValue(
                f"{few.message} Left out were {why}.", remedy=few.remedy, field=few.field, value=few.value
            ) from None
        raise InvalidValue(
            f"Only {groups} independent groups can be held out, {FEWEST_GROUPS - 2} are needed to tell a tuned model "
            f"from chance. Left out were {why}.",
            remedy="Let workspaces keep words and people judge answers, look further back, or ask less of examples.",
            field="examples",
            value=groups,
        )
    check_enough(training)


def _described(written: Written) -> dict[str, Any]:
    return {
        "examples": len(written.examples),
        "tokens": written.tokens,
        "by_domain": dict(Counter(one.domain for one in written.examples).most_common()),
        "by_source": dict(Counter(one.source for one in written.examples).most_common()),
    }


def _numbered(names: Sequence[str]) -> list[str]:
    places = {name: str(place) for place, name in enumerate(dict.fromkeys(names))}
    return [places[name] for name in names]
