"""The card of a version over HTTP and at the prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from cli.main import app
from store.errors import UnknownEntity, UnknownVersion
from store.registry import CARD, Registry

HTML = "<!doctype html><title>ü</title>"


def test_a_card_is_read_where_its_version_is(
    client: TestClient, shared: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry: Registry = shared.registry
    path = "/v1/registry/models/forecasting/versions/{}/card"
    missing = client.get(path.format(1))
    assert missing.status_code == 404
    assert missing.json()["detail"].startswith("Version 1 of 'forecasting' has no card.")
    with pytest.raises(UnknownEntity, match="has no card"):
        registry.card("forecasting", 1)
    with pytest.raises(UnknownVersion):
        registry.card("forecasting", 99)
    assert client.get(path.format(99)).status_code == 404
    assert client.get(path.format(2**63)).status_code == 422

    with registry.run("forecasting", "", {}, run_id=registry.version("forecasting", 1).run_id) as run:
        run.log_text(HTML, CARD)
    found = client.get(path.format(1))
    assert (found.status_code, found.text) == (200, HTML)
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in found.headers["content-security-policy"]

    monkeypatch.setenv("MERIT_HOME", str(shared.settings.home))
    monkeypatch.chdir(tmp_path)
    for arguments, name in (([], "forecasting-v1.html"), (["1", "--out", "card.html"], "card.html")):
        done = CliRunner().invoke(app, ["registry", "card", "forecasting", *arguments])
        assert done.exit_code == 0, done.output
        assert Path(name).read_text(encoding="utf-8") == HTML
    refused = CliRunner().invoke(app, ["registry", "card", "forecasting", "--out", "card.pdf"])
    assert "card.pdf is no page" in str(refused.exception)
