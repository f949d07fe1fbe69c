"""No secret in a log line, an error or a traceback, whichever way it got there."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from store import redaction
from store.redaction import HIDDEN, install, redact, register_secret, register_settings
from store.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
PLANTED = "planted+key/that=nobody:may see"
SHAPES = {
    "OpenAI": "sk-proj-Abc123_def456-ghi789jkl012",
    "Anthropic": "sk-ant-api03-abcdefghijklmnop-qrstuv_wx",
    "Groq": "gsk_abcdefghijklmnop1234567890",
    "Google": "AIzaSyA-1234567890abcdefghijklmnopqrs",
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "GitHub": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "Slack": "xoxb-1234567890-abcdefghij",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "ours": "merit_0123456789ab_" + "f" * 48,
}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    redaction.uninstall()


@pytest.mark.parametrize("secret", SHAPES.values(), ids=SHAPES)
def test_what_looks_like_a_key_is_hidden(secret: str) -> None:
    for text in (secret, f"the key '{secret}', sent", f"a={secret}&b=1", f"({secret})"):
        shown = redact(text)
        assert secret not in shown
        assert secret[8:] not in shown
        assert shown == text.replace(secret, HIDDEN)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdef",
        "authorization: basic YWJjOmRlZg==",
        "{'authorization': 'Bearer abcdef'}",
        "[(b'authorization', b'Bearer abcdef')]",
        '{"x-api-key": "abcdef"}',
        "x-goog-api-key: abcdef",
        "https://host/v1/models?alt=json&key=abcdef&x=1",
        "https://host/v1/models?api_key=abcdef",
        "postgresql://merit:abcdef@db/merit",
        "redis://:abcdef@cache:6379/0",
    ],
)
def test_what_is_announced_is_hidden(text: str) -> None:
    shown = redact(text)
    assert "abcdef" not in shown
    assert "YWJj" not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn is imported; the task-force met; key=1",
        "max_tokens: 100, tokens=5, key_id 3f2a",
        "mail me at ann@example.com about https://example.com/a",
        "The model sim/steady answered in 12 ms.",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@given(st.lists(st.sampled_from([*SHAPES.values(), "Bearer abcdef", "?key=abcdef", "://a:b@c", "x", "[", "]"])))
def test_hiding_twice_is_hiding_once(parts: list[str]) -> None:
    once = redact(" ".join(parts))
    assert redact(once) == once


def test_private_keys_are_hidden_whole() -> None:
    block = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----"
    assert redact(f"before\n{block}\nafter") == f"before\n{HIDDEN}\nafter"
    assert redact(f"cut off {block[:50]}") == f"cut off {HIDDEN}"


@given(st.text(), st.text(min_size=8).filter(lambda text: len(text.strip()) >= 8), st.text())
def test_a_registered_secret_never_shows(before: str, secret: str, after: str) -> None:
    register_secret(secret)
    try:
        shown = redact(before + secret.strip() + after)
    finally:
        redaction.uninstall()
    assert secret.strip() not in shown.replace(HIDDEN, "\ue000") or secret.strip() in HIDDEN


def test_short_values_are_no_secrets() -> None:
    register_secret("ab")
    register_secret("")
    register_secret(None)
    assert redact("about a cab") == "about a cab"


def test_secrets_of_the_settings(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        database_url=SecretStr("postgresql://merit:hunter2hunter2@db/merit"),
        data_key=SecretStr("b2xkZXN0a2V5b2ZhbGw=,bmV3ZXN0a2V5b2ZhbGw="),
        webhook_url=SecretStr("https://hooks.example.com/services/T0/B0"),
    )
    register_settings(settings)
    assert redact("hunter2hunter2 and bmV3ZXN0a2V5b2ZhbGw=") == f"{HIDDEN} and {HIDDEN}"


def test_log_lines_of_any_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("merit", "uvicorn"):
        # A server that ran in this process before keeps its lines to itself.
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s %(where)s", defaults={"where": ""}))
    register_secret(PLANTED)
    logging.getLogger().addHandler(handler)
    try:
        install()
        install()
        for name in ("merit.gateway.deep", "uvicorn.error", "somebody.else"):
            log = logging.getLogger(name)
            log.warning("plain %s", PLANTED)
            log.warning(PLANTED)
            log.warning("in a dict %s", {"key": PLANTED})
            log.warning("named %(key)s", {"key": PLANTED})
            log.warning("in an object %r", ValueError(PLANTED))
            log.warning("put together %s%s", PLANTED[:9], PLANTED[9:])
            log.warning("extra", extra={"where": PLANTED})
            try:
                raise RuntimeError(f"failed with {PLANTED}")
            except RuntimeError:
                log.exception("caught")
    finally:
        logging.getLogger().removeHandler(handler)
    told = stream.getvalue()
    assert "Traceback" in told
    assert "RuntimeError: failed with [redacted]" in told
    assert told.count(HIDDEN) >= 20
    assert PLANTED not in told
    assert PLANTED[:9] + PLANTED[9:] not in told


def test_arguments_stay_apart_for_formatters_that_want_them() -> None:
    from uvicorn.logging import AccessFormatter

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(AccessFormatter('%(client_addr)s "%(request_line)s" %(status_code)s', use_colors=False))
    log = logging.getLogger("uvicorn.access")
    log.addHandler(handler)
    try:
        install()
        log.warning('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", "/v1?key=abcdefgh", "1.1", 200)
    finally:
        log.removeHandler(handler)
    assert stream.getvalue() == f'127.0.0.1:5 "GET /v1?key={HIDDEN} HTTP/1.1" 200 OK\n'


def test_a_log_line_without_secrets_is_untouched() -> None:
    install()
    record = logging.getLogger("merit").makeRecord("merit", 20, "f", 1, "took %d ms for %s", (3, "a"), None)
    assert (record.msg, record.args) == ("took %d ms for %s", (3, "a"))


def test_uncaught_exceptions() -> None:
    code = f"""
import logging, threading
from store.redaction import install, register_secret
register_secret({PLANTED!r})
logging.basicConfig()
install()
logging.getLogger("merit").warning("does not fit %s %s", {PLANTED!r})
def work(): raise KeyError({PLANTED!r})
thread = threading.Thread(target=work); thread.start(); thread.join()
try:
    raise ValueError({PLANTED!r})
except ValueError as error:
    raise RuntimeError("Bearer abcdefgh") from error
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 4
    assert PLANTED not in done.stderr
    assert "abcdefgh" not in done.stderr
    assert done.stderr.count(HIDDEN) >= 4
