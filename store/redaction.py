"""Keeps secrets out of logs, errors and tracebacks: those that were configured, and whatever looks like one.

`install` once per process; then no log line, whichever logger and handler it takes, shows a registered secret.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from store.settings import Settings

HIDDEN = "[redacted]"
# Shorter ones would take ordinary words out of every log line.
LEAST_SECRET = 8

# What keys of providers and the like look like. One of the hints stands in every match: most texts hold none.
KEY_HINTS = (
    "sk-", "pk-", "rk-", "sk_", "rk_", "gsk_", "csk-", "xai-", "tgp_", "fw_", "hf_", "nvapi-", "r8_", "pplx-", "merit_",
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "AIza", "AKIA", "ASIA", "eyJ", "SG.",
    "npm_", "pypi-", "-----BEGIN",
)  # fmt: skip
KEY_SHAPES = r"""
    (?<![A-Za-z0-9_-])(?:
        (?:sk|pk|rk)-[A-Za-z0-9_-]{16,}
      | (?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}
      | gsk_[A-Za-z0-9]{16,} | csk-[A-Za-z0-9]{16,} | xai-[A-Za-z0-9]{16,} | tgp_[A-Za-z0-9_-]{16,}
      | fw_[A-Za-z0-9]{16,} | hf_[A-Za-z0-9]{16,} | nvapi-[A-Za-z0-9_-]{16,} | r8_[A-Za-z0-9]{16,}
      | pplx-[A-Za-z0-9]{16,} | merit_[0-9a-f]{12}_[0-9a-f]{16,}
      | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[A-Za-z0-9_-]{16,}
      | xox[abeprs]-[A-Za-z0-9-]{10,} | npm_[A-Za-z0-9]{20,} | pypi-[A-Za-z0-9_-]{20,}
      | AIza[A-Za-z0-9_-]{20,}
      | (?:AKIA|ASIA)[A-Z0-9]{16,}
      | SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,}
      | eyJ[A-Za-z0-9_-]{8,256}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?
    )
"""
_KEYS = re.compile(KEY_SHAPES, re.VERBOSE)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
# What follows a name that announces a secret: in headers, their reprs, query strings.
_ANNOUNCED = re.compile(
    r"""(?ix)
    (?P<name>
        (?:authorization|proxy-authorization|x-api-key|x-goog-api-key|api-key|cookie|set-cookie)
        ["']? \s* [:=,] \s* (?:b?["'])? (?:bearer\s+|basic\s+)?
      | \bbearer\s+
      | [?&](?:key|api_key|apikey|access_token|token|secret|password|sig|signature)=
    )
    (?P<value>(?!\[redacted\])[^\s"'&,;)}\]]{4,})
    """
)
_ANNOUNCING = ("authorization", "api-key", "cookie", "bearer")
_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):(?!\[redacted\])[^/\s@]+(?=@)")

_registered: set[str] = set()
_pattern: re.Pattern[str] | None = None
_guard = threading.Lock()
_before: Callable[..., logging.LogRecord] | None = None


def register_secret(value: str | SecretStr | None) -> None:
    """Never show this value, nor the form it takes in a URL. Values of less than 8 characters are left alone."""
    global _pattern
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text is None or len(text.strip()) < LEAST_SECRET:
        return
    with _guard:
        _registered.update((text.strip(), quote(text.strip(), safe="")))
        longest_first = sorted(_registered, key=len, reverse=True)
        _pattern = re.compile("|".join(map(re.escape, longest_first)))


def register_settings(settings: Settings) -> None:
    """Register every secret among the settings, and the passwords in their URLs."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if not isinstance(value, SecretStr):
            continue
        text = value.get_secret_value()
        if "://" in text:
            for part in re.findall(r"://[^/\s:@]*:([^/\s@]+)@", text):
                register_secret(part)
        if name == "data_key":
            for part in text.split(","):
                register_secret(part)


def redact(text: str) -> str:
    """A text without registered secrets and without what looks like a secret."""
    pattern = _pattern
    if pattern is not None:
        text = pattern.sub(HIDDEN, text)
    if any(hint in text for hint in KEY_HINTS):
        text = _KEYS.sub(HIDDEN, _PRIVATE_KEY.sub(HIDDEN, text))
    if "@" in text and "://" in text:
        text = _IN_URL.sub(rf"\1:{HIDDEN}", text)
    if "=" in text or any(word in text.lower() for word in _ANNOUNCING):
        text = _ANNOUNCED.sub(rf"\g<name>{HIDDEN}", text)
    return text


def scrub(record: logging.LogRecord) -> logging.LogRecord:
    """A log record that shows no secret, neither in its message nor in its traceback nor in its extra fields."""
    message = _message(record)
    shown = redact(message)
    if shown != message:
        _scrub_message(record, shown)
    if record.exc_info:
        text = _formatted(record.exc_info)
        if (shown := redact(text)) != text:
            # Formatters print this text as it is when there is no exception to format.
            record.exc_text, record.exc_info = shown, None
    return record


def _scrub_message(record: logging.LogRecord, shown: str) -> None:
    # Some formatters want the arguments one by one, uvicorn's access log for example.
    if isinstance(record.args, tuple) and isinstance(record.msg, str):
        record.msg = redact(record.msg)
        record.args = tuple(redact(one) if isinstance(one, str) else one for one in record.args)
        if (again := _message(record)) == redact(again):
            return
    record.msg, record.args = shown, ()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  arguments that do not fit: whoever handles the record will say so
        return f"{record.msg} {record.args}"


class Redacting(logging.Filter):
    """For a handler: also the fields that a caller adds with `extra`, which come after the record was made."""

    def filter(self, record: logging.LogRecord) -> bool:
        scrub(record)
        for name, value in record.__dict__.items():
            if isinstance(value, str) and name not in _PLAIN:
                record.__dict__[name] = redact(value)
        return True


_PLAIN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)
_filter = Redacting()


def install(loggers: Iterable[str] = ("", "merit", "uvicorn", "uvicorn.error", "uvicorn.access")) -> None:
    """Let no log line, and no traceback of an uncaught exception, show a secret. Twice is once.

    Every record is cleaned where it is made, so that handlers added later need nothing; the present handlers of
    `loggers` also clean extra fields.
    """
    global _before
    with _guard:
        if _before is None:
            _before = logging.getLogRecordFactory()
            logging.setLogRecordFactory(_make)
            sys.excepthook = _uncaught
            threading.excepthook = _uncaught_in_thread
    for name in loggers:
        for handler in logging.getLogger(name).handlers:
            if _filter not in handler.filters:
                handler.addFilter(_filter)


def uninstall() -> None:
    """Make records as before; registered secrets are forgotten."""
    global _before, _pattern
    with _guard:
        if _before is not None:
            logging.setLogRecordFactory(_before)
            _before = None
            sys.excepthook = sys.__excepthook__
            threading.excepthook = threading.__excepthook__
        _registered.clear()
        _pattern = None


def _make(*args: Any, **named: Any) -> logging.LogRecord:
    assert _before is not None
    return scrub(_before(*args, **named))


def _formatted(exc_info: Any) -> str:
    return "".join(traceback.format_exception(*exc_info)).rstrip("\n")


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redact(_formatted((kind, error, trace))) + "\n")


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit:
        return
    name = args.thread.name if args.thread is not None else "unknown"
    trace = _formatted((args.exc_type, args.exc_value, args.exc_traceback))
    sys.stderr.write(redact(f"Exception in thread {name}:\n{trace}") + "\n")
