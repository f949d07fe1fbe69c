"""A key planted in the configuration shows in no log line, no error and no traceback of whoever uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from store.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
# No shape of any provider's keys: it is known because it was configured.
PLANTED = "zebra.crossing+at/night=four"
HEADER = "another planted value"

CODE = """
import asyncio, logging, sys
from gateway.configuration.loading import load_configuration
from gateway.call.providers.wire import ProviderFailure
from store import redaction
from store.settings import load_settings

logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
settings = load_settings()
redaction.register_settings(settings)
redaction.install()
configuration = load_configuration(settings)
provider = configuration.providers["own"]
assert provider.key and provider.headers
print(configuration)
log = logging.getLogger("merit.gateway.anything")
log.info("asking %s with %s and %s", provider, provider.key, provider.headers)
log.debug("GET https://own.example.com/v1?key=" + provider.key)
for library in ("aiohttp.client", "asyncio", "urllib3"):
    logging.getLogger(library).error("headers: %r", {"Authorization": f"Bearer {provider.key}", **provider.headers})
try:
    try:
        raise OSError(f"cannot connect with {provider.key}")
    except OSError as error:
        raise ProviderFailure("connect", f"x-api-key {provider.key} refused") from error
except ProviderFailure:
    log.exception("failed")

async def forgotten():
    raise RuntimeError(f"{provider.headers}")

async def main():
    task = asyncio.create_task(forgotten())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task

asyncio.run(main())
raise RuntimeError(f"ends with {provider.key} {provider.headers} {settings.database_url}")
"""


def test_a_planted_key_shows_nowhere(settings: Settings) -> None:
    (settings.root / "providers.toml").write_text(
        '[providers.own]\nkind = "openai"\nbase_url = "https://own.example.com/v1"\nkey_env = "PLANTED_KEY"\n'
        'headers = { "x-more" = "{env:PLANTED_HEADER}" }\n\n'
        '[models."own/one"]\nprice = { input = 1.0, output = 2.0 }\n'
    )
    environment = {
        **os.environ,
        "MERIT_HOME": str(settings.home),
        "PLANTED_KEY": PLANTED,
        "PLANTED_HEADER": HEADER,
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    told = done.stdout + done.stderr
    assert "RuntimeError: ends with [redacted]" in told, told
    assert told.count("Traceback") >= 3
    assert told.count("[redacted]") >= 8
    for secret in (PLANTED, HEADER):
        assert secret not in told
