"""Where `camd open` says that the page is."""

from __future__ import annotations

from pathlib import Path

import pytest

from camd.cli.exit import CommandFailed
from camd.cli.service_access import ServiceAccess, web_page_address


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("ws://127.0.0.1:8002/ws", "http://127.0.0.1:8002"),
        ("wss://camera.example/ws", "https://camera.example"),
        ("ws://[::1]:8002/ws", "http://[::1]:8002"),
    ],
)
def test_the_page_is_where_the_calls_go(address: str, page: str) -> None:
    """With TLS where those have it."""
    assert web_page_address(ServiceAccess(address)) == page


def test_a_unix_socket_is_for_the_call_and_tcp_for_the_browser(tmp_path: Path) -> None:
    """The first TCP address of the configuration; from everywhere means also from here."""
    config = tmp_path / "camd.toml"
    config.write_text('[server]\nlisten = ["unix:/run/x.sock", "0.0.0.0:8010"]\n')
    assert web_page_address(ServiceAccess("unix:/run/x.sock", config_path=config)) == (
        "http://127.0.0.1:8010"
    )


def test_without_a_tcp_address_there_is_no_page_and_the_reason_is_said(tmp_path: Path) -> None:
    """No browser opens a Unix socket."""
    config = tmp_path / "camd.toml"
    config.write_text('[server]\nlisten = "unix:/run/x.sock"\n')
    with pytest.raises(CommandFailed, match="which no browser can open; add an address"):
        web_page_address(ServiceAccess("unix:/run/x.sock", config_path=config))
