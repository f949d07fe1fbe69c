"""Ports of servers that are about to start: nobody else takes them, and nobody takes a stranger's."""

from __future__ import annotations

import socket

import pytest

from cli import services
from store.errors import SettingsError
from store.locks import file_lock

HOST = "127.0.0.1"


def test_a_port_is_kept_for_one_process() -> None:
    port = services.free_port()
    with file_lock(services.claim_file(port)):  # as another process would, whose server does not listen yet
        assert services.is_free(HOST, port)
        assert not services.claim(HOST, port)
        with pytest.raises(SettingsError, match=f"Port {port}, meant for the API, is taken") as refused:
            services.require_free("API", HOST, port, "MERIT_PORT")
        assert "MERIT_PORT" in refused.value.remedy
    assert services.claim(HOST, port)
    assert services.claim(HOST, port)
    with pytest.raises(Exception, match="was not free"), file_lock(services.claim_file(port), timeout=0):
        pass


def test_a_port_where_something_listens_is_nobodys() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        assert not services.claim(HOST, taken.getsockname()[1])
