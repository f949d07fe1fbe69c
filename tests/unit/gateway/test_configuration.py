"""What providers.toml makes: providers, models, aliases and ensembles, and the files that are shipped."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest

from features.world.llm.offers import MODELS
from gateway.account.prices import listed
from gateway.choose.catalogue import CAPABILITIES, DOMAINS, Price
from gateway.choose.known_models import guessed, is_offered, known
from gateway.choose.virtual import Names
from gateway.configuration import Configuration, load_configuration, source_of
from gateway.configuration.presets import presets
from store.settings import Settings

KEYS = {"OPENAI_API_KEY": "sk-planted-openai", "ANTHROPIC_API_KEY": "sk-planted-anthropic"}


def load(settings: Settings, text: str, environ: Mapping[str, str] = KEYS) -> Configuration:
    path = settings.root / "providers.toml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return load_configuration(settings, environ=environ)


# The file that comes with the package ------------------------------------------------------------------------------


def test_without_a_file_there_is_the_simulated_provider_and_nothing_that_costs_money(settings: Settings) -> None:
    made = load_configuration(settings, environ=KEYS)
    assert set(made.providers) == {"simulated", "simulated-local"}
    assert {model.provider for model in made.models.values()} == set(made.providers)
    assert all(provider.key is None for provider in made.providers.values())
    assert made.notes == ()
    assert {"jury", "panel", "majority"} <= set(Names(list(made.models.values()), {}, made.ensembles).ensembles)


def test_the_simulated_provider_is_at_the_port_of_the_settings(settings: Settings, tmp_path: Path) -> None:
    made = load_configuration(Settings(home=tmp_path, simulator_port=9123), environ={})
    assert {provider.base_url for provider in made.providers.values()} == {"http://127.0.0.1:9123/v1"}


def test_only_the_local_half_of_the_simulated_provider_keeps_prompts_at_home(settings: Settings) -> None:
    made = load_configuration(settings, environ={})
    assert {model.id for model in made.models.values() if model.local} == {
        "simulated-local/small",
        "simulated-local/large",
    }


def test_the_simulator_costs_and_behaves_as_the_configuration_states(settings: Settings) -> None:
    made = load_configuration(settings, environ={}).models
    assert set(made) == set(MODELS)
    for model_id, simulated in MODELS.items():
        model = made[model_id]
        assert (model.price.input, model.price.output) == (simulated.input, simulated.output), model_id
        assert (model.price.cached or model.price.input) == simulated.cached, model_id
        assert model.quality == simulated.quality, model_id
        assert model.latency_ms == simulated.ttft_ms, model_id
        assert model.context == simulated.context, model_id
        assert model.capabilities - {"long_context"} == simulated.capabilities, model_id
        if model.kind == "chat":
            assert model.tokens_per_second == simulated.tokens_per_second, model_id
            assert model.max_output == simulated.max_output, model_id


def test_cached_tokens_of_simulated_models_cost_a_tenth_to_a_quarter(settings: Settings) -> None:
    for model in load_configuration(settings, environ={}).models.values():
        if model.price.cached is not None:
            assert 0.1 <= model.price.cached / model.price.input <= 0.25, model.id


def test_every_preset_is_complete(settings: Settings) -> None:
    assert set(presets()) >= {
        "openai", "anthropic", "gemini", "openrouter", "together", "fireworks", "groq", "cerebras", "vllm", "sglang",
        "tgi", "mistral", "deepseek", "xai", "ollama", "simulated",
    }  # fmt: skip
    for name, preset in presets().items():
        assert preset.wire in ("openai", "anthropic", "gemini"), name
        assert preset.key_env is not None or preset.local or preset.loopback, name
        keys = {preset.key_env: "k"} if preset.key_env else {}
        models = "" if preset.offer else 'models = ["qwen3-8b"]'
        price = f'[models."{name}/qwen3-8b"]\nprice = {{ input = 0, output = 0 }}' if preset.loopback else ""
        made = load(settings, f"[providers.{name}]\n{models}\n{price}", keys)
        assert made.models, name
        assert made.providers[name].local == (preset.local or preset.loopback), name


@pytest.mark.parametrize("name", [name for name, preset in presets().items() if preset.offer])
def test_the_models_that_a_preset_offers_are_known_and_priced(settings: Settings, name: str) -> None:
    made = load(settings, f"[providers.{name}]", {presets()[name].key_env or "": "k"})
    assert 1 <= len(made.models) <= 60
    for model in made.models.values():
        assert model.price.input > 0, model.id
        assert known(model.name) is not None, model.id
        assert model.capabilities <= set(CAPABILITIES), model.id
        assert set(model.quality) <= {"", *DOMAINS}, model.id
        assert model.context >= model.max_output > 0, model.id


# Providers ---------------------------------------------------------------------------------------------------------


def test_a_well_known_provider_is_one_line(settings: Settings) -> None:
    made = load(settings, "[providers.openai]")
    provider = made.providers["openai"]
    assert (provider.wire, provider.base_url, provider.key) == (
        "openai",
        "https://api.openai.com/v1",
        KEYS["OPENAI_API_KEY"],
    )
    assert made.models["openai/gpt-4o-mini"].price == Price(150.0, 600.0, 75.0)


def test_a_provider_without_its_key_is_left_out_and_said_so(settings: Settings) -> None:
    made = load(settings, "[providers.openai]\n[providers.mistral]")
    assert set(made.providers) == {"openai"}
    assert not any(model.provider == "mistral" for model in made.models.values())
    assert made.notes == ("providers.mistral is left out: MISTRAL_API_KEY, for its key, is not set.",)


def test_a_disabled_provider_is_left_out_without_a_word(settings: Settings) -> None:
    made = load(settings, "[providers.openai]\n[providers.mistral]\nenabled = false")
    assert set(made.providers) == {"openai"}
    assert made.notes == ()


def test_when_nothing_is_left_the_configuration_says_so(settings: Settings) -> None:
    made = load(settings, "[providers.openai]", {})
    assert made.models == {}
    assert made.notes[-1] == "No model may be called."


def test_discovery_takes_the_providers_whose_keys_are_there_and_only_when_asked(settings: Settings) -> None:
    text = '[providers.mine]\nkind = "vllm"\nmodels = ["qwen3-8b"]\n'
    assert set(load(settings, text).providers) == {"mine"}
    found = load(settings, "[gateway]\ndiscover = true\n" + text)
    assert set(found.providers) == {"mine", "openai", "anthropic"}


def test_discovery_leaves_alone_what_is_configured(settings: Settings) -> None:
    made = load(
        settings,
        '[gateway]\ndiscover = true\n[providers.work]\nkind = "openai"\n[providers.anthropic]\nenabled = false',
    )
    assert set(made.providers) == {"work"}


def test_a_key_is_not_sent_to_another_host_than_its_kinds(settings: Settings) -> None:
    text = """
        [providers.proxy]
        kind = "openai"
        base_url = "https://llm.example.org/v1"
        {key}
        models = ["m"]
        [models."proxy/m"]
        price = {{ input = 1, output = 2 }}
    """
    assert load(settings, text.format(key="")).providers["proxy"].key is None
    named = load(settings, text.format(key='key_env = "OPENAI_API_KEY"'))
    assert named.providers["proxy"].key == KEYS["OPENAI_API_KEY"]


def test_a_model_server_far_away_is_not_local_unless_it_is_said(settings: Settings) -> None:
    text = """
        [providers.vllm]
        base_url = "https://gpu.example.org/v1"
        {local}
        models = ["m"]
        [models."vllm/m"]
        price = {{ input = 1, output = 2 }}
    """
    assert not load(settings, text.format(local="")).models["vllm/m"].local
    assert load(settings, text.format(local="local = true")).models["vllm/m"].local


def test_headers_come_from_the_environment(settings: Settings) -> None:
    text = '[providers.openai]\nheaders = { "X-Team" = "{env:TEAM}", "X-Auth" = "Bearer {env:TOKEN}" }'
    made = load(settings, text, {**KEYS, "TEAM": "energy", "TOKEN": "secret"})
    assert made.providers["openai"].headers == {"X-Team": "energy", "X-Auth": "Bearer secret"}
    without = load(settings, text, {**KEYS, "TEAM": "energy"})
    assert without.providers == {}
    assert "TOKEN, for its header X-Auth, is not set" in without.notes[0]


def test_timeouts_of_the_gateway_hold_where_a_provider_has_none_of_its_own(settings: Settings) -> None:
    made = load(
        settings,
        """
        [gateway]
        timeout_s = 30
        stall_s = 3.5
        attempts = 2
        deadline_s = 60
        [providers.openai]
        [providers.anthropic]
        timeout_s = 90
        on_disconnect = "drain"
        probe = false
        concurrency = 7
        """,
    )
    openai, anthropic = made.providers["openai"], made.providers["anthropic"]
    assert (openai.timeout_s, openai.stall_s, openai.connect_s, openai.on_disconnect) == (30, 3.5, 5, "cancel")
    assert (anthropic.timeout_s, anthropic.concurrency, anthropic.on_disconnect) == (90, 7, "drain")
    assert (openai.probe, anthropic.probe) == (True, False)
    assert (made.attempts, made.deadline_s) == (2, 60)


def test_keys_are_not_shown(settings: Settings) -> None:
    made = load(settings, '[providers.openai]\nheaders = { "X-Auth" = "{env:OPENAI_API_KEY}" }\n[providers.anthropic]')
    assert "planted" not in repr(made)


# Models ------------------------------------------------------------------------------------------------------------


def test_listed_models_alone_are_taken(settings: Settings) -> None:
    made = load(settings, '[providers.openai]\nmodels = ["gpt-4o-mini", "text-embedding-3-small"]')
    assert set(made.models) == {"openai/gpt-4o-mini", "openai/text-embedding-3-small"}
    assert made.models["openai/text-embedding-3-small"].kind == "embeddings"
    assert made.models["openai/text-embedding-3-small"].capabilities == {"embeddings"}


def test_what_is_stated_overrules_what_is_known(settings: Settings) -> None:
    made = load(
        settings,
        """
        [providers.openai]
        models = ["gpt-4o-mini", "gpt-4o"]
        [models."openai/gpt-4o-mini"]
        price = { input = 0, output = 0.6, request = 0.001, tiers = [{ above = 1000, output = 1.2 }] }
        context = 8_000
        capabilities = ["vision"]
        quality = { code = 0.9 }
        latency_ms = 5
        aliases = ["mini"]
        [models."openai/gpt-4o"]
        quality = { default = 0.4, code = 0.3 }
        enabled = false
        """,
    )
    assert set(made.models) == {"openai/gpt-4o-mini"}
    model = made.models["openai/gpt-4o-mini"]
    # A price of 0 is a price. What is left out of it does not cost what the table says.
    assert model.price == Price(0, 600, request=1e6, tiers=((1_000, Price(0, 1_200, request=1e6)),))
    assert (model.context, model.max_output, model.latency_ms) == (8_000, 8_000, 5)
    assert model.capabilities == {"chat", "vision"}
    assert model.expected_quality("code") == 0.9
    before = known("gpt-4o-mini")
    assert before is not None
    assert model.expected_quality("conversation") == before.quality["conversation"]
    assert made.aliases == {"mini": "openai/gpt-4o-mini"}


def test_a_default_quality_is_about_the_whole_model(settings: Settings) -> None:
    made = load(
        settings,
        '[providers.openai]\nmodels = ["gpt-4o"]\n[models."openai/gpt-4o"]\nquality = { default = 0.4, code = 0.3 }',
    )
    assert made.models["openai/gpt-4o"].quality == {"": 0.4, "code": 0.3}


def test_a_model_that_nobody_knows_needs_a_price_and_gets_cautious_priors(settings: Settings) -> None:
    made = load(
        settings,
        '[providers.openai]\nmodels = []\n[models."openai/unheard-of"]\nprice = { input = 1, output = 2 }',
    )
    model = made.models["openai/unheard-of"]
    assert model.capabilities == {"chat", "stream"}
    assert model.quality == guessed(Price(1_000, 2_000)).quality
    assert model.expected_quality("code") < model.expected_quality("") < 0.7


def test_models_of_own_servers_are_free(settings: Settings) -> None:
    made = load(settings, '[providers.vllm]\nmodels = ["Qwen/Qwen3-32B"]', {})
    model = made.models["vllm/Qwen/Qwen3-32B"]
    assert model.price == Price()
    assert model.local
    assert model.name == "Qwen/Qwen3-32B"


def test_a_provider_whose_names_have_a_prefix(settings: Settings) -> None:
    made = load(settings, '[providers.fireworks]\nmodels = ["gpt-oss-120b"]', {"FIREWORKS_API_KEY": "k"})
    model = made.models["fireworks/gpt-oss-120b"]
    assert model.name == "accounts/fireworks/models/gpt-oss-120b"
    expected = listed("fireworks", model.name)
    assert expected is not None
    assert model.price == expected.price


def test_a_provider_with_a_speed_of_its_own(settings: Settings) -> None:
    made = load(settings, "[providers.cerebras]\n[providers.groq]", {"CEREBRAS_API_KEY": "k", "GROQ_API_KEY": "k"})
    assert {model.tokens_per_second for model in made.models.values()} == {1_500.0, 400.0}


def test_long_context_is_a_matter_of_the_context(settings: Settings) -> None:
    made = load(settings, '[providers.openai]\nmodels = ["gpt-4.1", "gpt-4o"]')
    assert "long_context" in made.models["openai/gpt-4.1"].capabilities
    assert "long_context" not in made.models["openai/gpt-4o"].capabilities


def test_the_first_change_of_a_price_is_known(settings: Settings) -> None:
    moment = datetime(2026, 11, 30, 12, tzinfo=UTC)
    (settings.root / "providers.toml").write_text('[providers.deepseek]\nmodels = ["deepseek-chat"]\n')
    made = load_configuration(settings, environ={"DEEPSEEK_API_KEY": "k"}, at=moment)
    found = listed("deepseek", "deepseek-chat", moment)
    assert found is not None
    assert made.changes_at == found.until


# Aliases and ensembles ---------------------------------------------------------------------------------------------


def test_aliases_and_ensembles(settings: Settings) -> None:
    made = load(
        settings,
        """
        [providers.openai]
        models = ["gpt-4o-mini", "gpt-4o"]
        [providers.mistral]
        [aliases]
        default = "auto"
        small = "openai/gpt-4o-mini"
        jury = "ensemble/three"
        vote = "ensemble/majority"
        coding = "auto:code"
        far = "mistral/mistral-large-latest"
        [ensembles.three]
        rule = "weighted"
        members = ["openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-4o-mini", "mistral/mistral-medium-latest"]
        weights = { "openai/gpt-4o" = 2 }
        judge = "openai/gpt-4o"
        """,
    )
    assert made.aliases == {
        "default": "auto",
        "small": "openai/gpt-4o-mini",
        "jury": "ensemble/three",
        "vote": "ensemble/majority",
        "coding": "auto:code",
    }
    three = made.ensembles["three"]
    assert three.members == ("openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-4o-mini")
    assert (three.rule, three.weights, three.judge) == ("weighted", {"openai/gpt-4o": 2.0}, "openai/gpt-4o")
    assert Names(list(made.models.values()), made.aliases, made.ensembles).parse("jury").ensemble == three
    assert any("goes without what is left out: mistral/mistral-medium-latest" in note for note in made.notes)


# Which file --------------------------------------------------------------------------------------------------------


def test_one_file_counts_and_nothing_is_merged(settings: Settings, tmp_path: Path) -> None:
    assert source_of(settings).name == "providers.toml"
    assert source_of(settings).parent.name == "gateway"
    own = settings.root / "providers.toml"
    own.write_text("[providers.openai]")
    assert source_of(settings) == own
    named = tmp_path / "mine.toml"
    named.write_text("[providers.anthropic]")
    assert set(load_configuration(Settings(home=settings.home, providers_file=named), environ=KEYS).providers) == {
        "anthropic"
    }


# Priors ------------------------------------------------------------------------------------------------------------


def test_the_table_of_known_models_is_well_formed() -> None:
    table = files("gateway") / "choose" / "known_models.toml"
    entries = tomllib.loads(table.read_text(encoding="utf-8"))["model"]
    assert len(entries) > 50
    for entry in entries:
        assert set(entry["capabilities"]) <= set(CAPABILITIES), entry["match"]
        assert "default" in entry["quality"], entry["match"]
        assert set(entry["quality"]) <= {"default", *DOMAINS}, entry["match"]
        assert all(0 < value < 1 for value in entry["quality"].values()), entry["match"]


@pytest.mark.parametrize(
    ("better", "worse", "domain"),
    [
        ("gpt-5", "gpt-5-mini", "math"),
        ("gpt-5-mini", "gpt-5-nano", "code"),
        ("claude-opus-4-5", "claude-haiku-4-5", "writing"),
        ("gpt-4o", "gpt-4o-mini", "knowledge"),
        ("o3", "gpt-4o", "math"),
        ("anthropic/claude-sonnet-4.5", "meta-llama/Llama-3.1-8B-Instruct", "code"),
        ("accounts/fireworks/models/deepseek-r1-0528", "deepseek-chat", "reasoning"),
        ("gemini-2.5-pro", "gemini-2.5-flash-lite", "analysis"),
    ],
)
def test_priors_put_models_in_the_order_that_is_known(better: str, worse: str, domain: str) -> None:
    one, other = known(better), known(worse)
    assert one is not None
    assert other is not None
    assert one.quality.get(domain, one.quality[""]) > other.quality.get(domain, other.quality[""])


@pytest.mark.parametrize(
    "name", ["gpt-image-1", "whisper-1", "gpt-4o-realtime-preview", "gpt-4o-mini-tts", "openai/gpt-5:batch", "my-model"]
)
def test_what_draws_speaks_or_is_unknown_is_not_offered(name: str) -> None:
    assert not is_offered(name)


def test_dearer_models_are_guessed_to_be_better_within_bounds() -> None:
    qualities = [guessed(Price(price, price)).quality[""] for price in (1.0, 100.0, 1_000.0, 10_000.0, 1e9)]
    assert qualities == sorted(qualities)
    assert qualities[0] == 0.35
    assert qualities[-1] == 0.8
    assert guessed(Price()).quality[""] == 0.5
