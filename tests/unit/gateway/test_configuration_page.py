"""The page about providers says what is: its examples are right, and it explains every key and every kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.choose.catalogue import CAPABILITIES, DOMAINS
from gateway.configuration import check
from gateway.configuration.presets import presets
from gateway.configuration.schema import (
    EnsembleSection,
    GatewaySection,
    ModelSection,
    PriceSection,
    ProviderSection,
    TierSection,
    TuningSection,
)
from store.settings import Settings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "gateway-providers.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
KEYS = {preset.key_env: "k" for preset in presets().values() if preset.key_env} | {
    "CAMPUS_KEY": "k",
    "OUR_SITE": "https://example.org",
    "OUR_NAME": "example",
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_right(settings: Settings, example: str) -> None:
    made, problems = check(example.encode(), settings, source=Path("providers.toml"), environ=KEYS)
    assert [str(one) for one in problems] == []
    assert made.notes == ()
    assert made.models


def test_there_is_an_example_of_every_kind(settings: Settings) -> None:
    longest = max(EXAMPLES, key=len)
    made, _ = check(longest.encode(), settings, source=Path("providers.toml"), environ=KEYS)
    assert set(made.providers) == set(presets())


def test_every_kind_stands_in_the_table_with_its_variable() -> None:
    rows = dict(re.findall(r"^\| `([a-z]+)` \| (`[A-Z_]+`|–) \|", PAGE, re.MULTILINE))
    assert rows == {name: f"`{preset.key_env}`" if preset.key_env else "–" for name, preset in presets().items()}


@pytest.mark.parametrize(
    "section",
    [GatewaySection, ProviderSection, ModelSection, EnsembleSection, PriceSection, TierSection, TuningSection],
)
def test_every_key_is_explained(section: type[GatewaySection]) -> None:
    assert [name for name in section.model_fields if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize(("key", "default"), re.findall(r"^\| `(\w+)` \| ([\d.]+|true|false) \|", PAGE, re.MULTILINE))
def test_every_default_is_the_one_that_is_told(key: str, default: str) -> None:
    sections = (GatewaySection, ProviderSection, ModelSection, EnsembleSection)
    told = {"true": True, "false": False}.get(default)
    value = float(default) if told is None else told
    assert value in [section.model_fields[key].default for section in sections if key in section.model_fields]


def test_every_capability_and_kind_of_task_is_named() -> None:
    implied = {"chat", "embeddings"}
    assert [name for name in (*CAPABILITIES, *DOMAINS) if f"`{name}`" not in PAGE and name not in implied] == []
