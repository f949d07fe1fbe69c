"""The configuration follows its file, and a broken file changes nothing."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.configuration import Reloader, load_configuration
from store.settings import Settings

ENVIRON = {"OPENAI_API_KEY": "k", "DEEPSEEK_API_KEY": "k"}
ONE = '[providers.openai]\nmodels = ["gpt-4o"]\n'
TWO = '[providers.openai]\nmodels = ["gpt-4o", "gpt-4o-mini"]\n'


@pytest.fixture
def file(settings: Settings) -> Path:
    path = settings.root / "providers.toml"
    path.write_text(ONE)
    return path


@pytest.fixture
def reloader(settings: Settings, file: Path) -> Reloader:
    return Reloader(settings, load_configuration(settings, environ=ENVIRON), environ=ENVIRON)


def test_nothing_new_while_nothing_changes(reloader: Reloader, file: Path) -> None:
    assert reloader.poll() is None
    assert reloader.poll() is None
    os.utime(file)
    assert reloader.poll() is None


def test_a_change_gives_a_new_configuration_once(reloader: Reloader, file: Path) -> None:
    before = reloader.current
    file.write_text(TWO)
    new = reloader.poll()
    assert new is not None
    assert set(new.models) == {"openai/gpt-4o", "openai/gpt-4o-mini"}
    assert reloader.current is new
    assert set(before.models) == {"openai/gpt-4o"}
    assert reloader.poll() is None


def test_a_change_before_the_first_look_is_not_missed(settings: Settings, file: Path) -> None:
    current = load_configuration(settings, environ=ENVIRON)
    file.write_text(TWO)
    assert Reloader(settings, current, environ=ENVIRON).poll() is not None


def test_a_broken_file_keeps_what_was_and_says_so_once(
    reloader: Reloader, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = reloader.current
    file.write_text('[providers.openai]\nmodel = ["gpt-4o"]\n')
    with caplog.at_level(logging.ERROR, "merit.gateway"):
        assert reloader.poll() is None
        assert reloader.poll() is None
        os.utime(file)
        assert reloader.poll() is None
    assert reloader.current is before
    assert reloader.error is not None
    assert "Did you mean models?" in str(reloader.error)
    assert len(caplog.records) == 1


def test_mending_it_ends_the_error(reloader: Reloader, file: Path) -> None:
    file.write_text("[providers.openai")
    reloader.poll()
    assert reloader.error is not None
    file.write_text(ONE)
    assert reloader.poll() is None  # as it was
    assert reloader.error is None
    file.write_text(TWO)
    assert reloader.poll() is not None


def test_a_file_that_goes_away_leaves_the_one_that_comes_with_the_package(reloader: Reloader, file: Path) -> None:
    file.unlink()
    new = reloader.poll()
    assert new is not None
    assert set(new.providers) == {"simulated", "simulated-local"}


def test_a_named_file_that_goes_away_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    named = tmp_path / "mine.toml"
    named.write_text(ONE)
    own = Settings(home=settings.home, providers_file=named)
    reloader = Reloader(own, load_configuration(own, environ=ENVIRON), environ=ENVIRON)
    named.unlink()
    assert reloader.poll() is None
    assert set(reloader.current.models) == {"openai/gpt-4o"}
    assert reloader.error is not None


def test_a_first_file_of_ones_own_is_found(settings: Settings) -> None:
    reloader = Reloader(settings, load_configuration(settings, environ=ENVIRON), environ=ENVIRON)
    (settings.root / "providers.toml").write_text(ONE)
    new = reloader.poll()
    assert new is not None
    assert set(new.models) == {"openai/gpt-4o"}


def test_a_price_that_changes_by_the_clock_gives_a_new_configuration(settings: Settings, file: Path) -> None:
    file.write_text('[providers.deepseek]\nmodels = ["deepseek-chat"]\n')
    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    reloader = Reloader(settings, load_configuration(settings, environ=ENVIRON, at=noon), environ=ENVIRON)
    by_day = reloader.current.models["deepseek/deepseek-chat"].price
    due = reloader.current.changes_at
    assert due is not None
    assert reloader.poll(due - timedelta(seconds=1)) is None
    new = reloader.poll(due)
    assert new is not None
    assert new.models["deepseek/deepseek-chat"].price.input < by_day.input
    assert new.changes_at is not None
    assert new.changes_at > due
    assert reloader.poll(due) is None
