"""`merit optimise-prompt`: what goes where, and what does not fit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import main

CODE = "```python\r\ndef area(width: float, height: float) -> float:   # blanks, a long line and CRLF stay \r\n```"
PROMPT = f"You  are   a helpful assistant.\r\n\r\n\r\n\r\n{CODE}\r\n\r\nAnswer    briefly."

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def merit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["merit", "optimise-prompt", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        sys.stdout.flush()
        said = capfdbinary.readouterr()
        return int(ended.value.code or 0), said.out.decode(), " ".join(said.err.decode().split())

    return run


def test_the_result_alone_goes_where_no_terminal_is(merit: Run, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes(PROMPT.encode())
    code, out, told = merit(str(file))
    assert code == 0
    assert CODE in out
    assert len(out) < len(PROMPT)
    assert "tokens before" in told
    written = tmp_path / "shorter.txt"
    assert merit(str(file), "--out", str(written))[0] == 0
    assert written.read_bytes().decode() == out


def test_requests_stay_requests(merit: Run, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    body = {"model": "auto", "messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": "Hello"}]}
    file.write_text(json.dumps(body) + "\n" + json.dumps({"body": body}) + "\n")
    _, out, _ = merit(str(file))
    first, second = (json.loads(line) for line in out.splitlines())
    assert first == second
    assert CODE in first["messages"][0]["content"]
    assert first["model"] == "auto"


@pytest.mark.parametrize(
    "name, text, told",
    [
        ("empty.txt", " \n", "is empty"),
        ("none.json", "{}", "holds no request with `messages`"),
        ("broken.jsonl", "{", "Line 1 of"),
    ],
)
def test_what_is_no_prompt_is_told(merit: Run, tmp_path: Path, name: str, text: str, told: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    code, out, error = merit(str(file))
    assert (code, out) == (2, "")
    assert told in error


def test_a_file_that_is_not_there(merit: Run, tmp_path: Path) -> None:
    assert merit(str(tmp_path / "nowhere.txt"))[0] == 2
