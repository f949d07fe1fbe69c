"""Tuned models in the catalogue: laid over the configuration, and asked by nobody who must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.call.breaker import Breakers
from gateway.call.health import Health
from gateway.choose.chooser import Chooser
from gateway.choose.listing import permitted
from gateway.choose.policy import PriorPolicy
from gateway.choose.task import analyse
from gateway.configuration import Configuration, check
from gateway.configuration.tuned import TunedModels
from gateway.prompt import Options, Prompt, Tenant
from store import llm_finetunes, tuned_models
from store.errors import NoCandidate
from store.llm_finetunes import Finetune
from store.settings import Settings

FILE = b"""
[providers.simulated]
kind = "simulated"
[models."simulated/small"]
price = { input = 0.15, output = 0.60, tiers = [{ above = 1000, input = 0.3 }] }
tuning = { training = 3.0, output = 0.90 }
quality = { default = 0.6 }
[models."simulated/large"]
price = { input = 3.0, output = 15.0 }
[providers.openai]
models = ["gpt-4.1-mini", "gpt-5"]
"""
TUNED = "simulated/ft:small:merit:letters:1a2b3c4d"


@pytest.fixture
def configuration(settings: Settings) -> Configuration:
    made, problems = check(FILE, settings, source=Path("providers.toml"), environ={"OPENAI_API_KEY": "k"})
    assert problems == []
    return made


def keep(settings: Settings, state: tuned_models.State = "admitted", base: str = "simulated/small") -> None:
    finetune = Finetune(
        id="f" * 32, workspace="north", name="letters", base_model=base, task="writing", options={}, examples={},
        plan={}, tenant={}, expected=0,
    )  # fmt: skip
    llm_finetunes.create(settings, finetune)
    tuned_models.put(
        settings, TUNED, base_model=base, state=state, workspaces=["north"], quality={"": 0.6, "writing": 0.95},
        finetune_id=finetune.id,
    )  # fmt: skip


def test_what_can_be_tuned_is_stated_or_known(configuration: Configuration) -> None:
    stated = configuration.models["simulated/small"].tuning
    assert stated is not None
    assert (stated.name, stated.training) == ("small", 3_000)
    # What is left out costs as before, for prompts of every length.
    assert (stated.price.input, stated.price.output, stated.price.tiers) == (150, 900, ())
    assert configuration.models["simulated/large"].tuning is None
    known = configuration.models["openai/gpt-4.1-mini"].tuning
    assert known is not None
    assert (known.name, known.training, known.price.output) == ("gpt-4.1-mini-2025-04-14", 5_000, 3_200)
    assert configuration.models["openai/gpt-5"].tuning is None


def test_a_tuned_model_is_taken_over_and_let_go(settings: Settings, configuration: Configuration) -> None:
    follower = TunedModels(settings)
    assert follower.laid_over(configuration).models == configuration.models
    assert not follower.changed()
    keep(settings)
    assert follower.changed()
    made = follower.laid_over(configuration)
    model = made.models[TUNED]
    assert (model.name, model.price.output, model.quality["writing"]) == ("ft:small:merit:letters:1a2b3c4d", 900, 0.95)
    assert (model.workspaces, model.tuning, made.restricted) == (frozenset({"north"}), None, True)
    assert made.digest != configuration.digest
    assert not follower.changed()
    tuned_models.withdraw(settings, TUNED)
    assert follower.changed()
    assert follower.laid_over(configuration).models == configuration.models


def test_one_whose_base_is_gone_is_left_out_and_told_of(settings: Settings, configuration: Configuration) -> None:
    keep(settings, base="simulated/gone")
    made = TunedModels(settings).laid_over(configuration)
    assert TUNED not in made.models
    assert "simulated/gone" in made.notes[-1]


def test_only_its_workspace_asks_it_and_nobody_one_on_trial(settings: Settings, configuration: Configuration) -> None:
    keep(settings)
    models = TunedModels(settings).laid_over(configuration).models
    everybody = set(configuration.models)
    assert permitted((), models, "south") == everybody
    assert permitted((), models, "north") == everybody | {TUNED}
    assert permitted(("simulated/large",), models, "north") == {"simulated/large"}
    on_trial = {**models, TUNED: replace(models[TUNED], trial=True)}
    assert permitted((), on_trial, "north") == everybody
    # Its evaluation may, whatever is allowed otherwise; and nothing that is not on trial.
    assert permitted(("simulated/large",), on_trial, "north", TUNED) == {"simulated/large", TUNED}
    assert permitted(("simulated/large",), models, "north", TUNED) == {"simulated/large"}
    assert permitted((), configuration.models, "north") is None


def test_the_chooser_prefers_it_where_it_may_and_does_not_tell_of_it_where_not(
    settings: Settings, configuration: Configuration
) -> None:
    keep(settings)
    models = TunedModels(settings).laid_over(configuration).models
    chooser = Chooser(tuple(models.values()), PriorPolicy(), Health(Breakers()))
    body = {"messages": [{"role": "user", "content": "Write a letter to a customer about a late delivery."}]}

    def decide(workspace: str, model: str = "best") -> object:
        prompt = Prompt("0" * 32, Tenant(workspace), "chat", model, body, options=Options(explore=False))
        task = analyse(body, "chat", 20, "writing")
        return chooser.decide(prompt, task, allowed=permitted((), models, workspace))

    assert decide("north").ranked[0].model.id == TUNED  # type: ignore[attr-defined]
    shown = str(decide("south").explain())  # type: ignore[attr-defined]
    assert "ft:small" not in shown
    with pytest.raises(NoCandidate, match="not allowed in this workspace"):
        decide("south", TUNED)
