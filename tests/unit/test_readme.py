"""What the README shows is there: every command with its options, every file it points at."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from docs.figures import SHOWN

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^merit .+?(?=  +#|$)", README, flags=re.MULTILINE)))


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_readme_has_the_options_it_shows(line: str) -> None:
    words = shlex.split(line)[1:]
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    path: list[str] = []
    for word in words:
        if word.startswith("-") or not re.fullmatch(r"[a-z-]+", word):
            break
        if runner.invoke(app, [*path, word, "--help"]).exit_code != 0:
            break
        path.append(word)
    shown = runner.invoke(app, [*path, "--help"]).output
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", shown), f"{option} is not an option of merit {' '.join(path)}"


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("family", ["forecasting", "churn", "segmentation", "pricing"])
def test_every_family_is_shown_with_a_plot_of_the_program(family: str) -> None:
    made = {f"{family}-{name.replace('_', '-')}" for name in SHOWN[family]}
    for page, folder in ((ROOT / "README.md", "docs/figures"), (ROOT / "docs" / "README.md", "figures")):
        shown = re.findall(rf"!\[[^\]]+\]\({folder}/([^)]+)\)", page.read_text(encoding="utf-8"))
        assert made & set(shown), page
        assert all((page.parent / folder / name).stat().st_size > 1_000 for name in shown)


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
