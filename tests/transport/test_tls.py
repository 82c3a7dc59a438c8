"""The session's TLS context, and the clock."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import pytest

from wiro_async import AsyncWiro
from wiro_async._errors import ConfigurationError, ConnectionFailedError
from wiro_async._transport import clock
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.network.tls import Tls
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    from tests.transport.conftest import Conversation, Serve


def test_it_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And checks who is there."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    tls = Tls()
    assert tls.context is tls.context
    assert tls.context.check_hostname
    assert tls.context.verify_mode == ssl.CERT_REQUIRED


def test_anybody() -> None:
    """Only if asked for."""
    assert Tls(False).context.verify_mode == ssl.CERT_NONE
    assert not Tls(False).context.check_hostname


def test_a_context_of_ones_own(tls_context: ssl.SSLContext) -> None:
    """It is taken as it is."""
    assert Tls(tls_context).context is tls_context


def test_certificates_of_ones_own(tmp_path: Path) -> None:
    """A file or a folder of them; what holds none is a mistake in the settings."""
    one = Path(certifi.where()).read_text(encoding="ascii").partition("-----END CERTIFICATE-----")
    (tmp_path / "one.pem").write_text(one[0][one[0].index("-----BEGIN") :] + one[1] + "\n", encoding="ascii")
    assert len(Tls(tmp_path / "one.pem").context.get_ca_certs()) == 1
    assert Tls(str(tmp_path)).context.verify_mode == ssl.CERT_REQUIRED
    (tmp_path / "none.pem").write_text("nothing", encoding="ascii")
    for path in (tmp_path / "none.pem", tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match="no certificates"):
            _ = Tls(path).context


def test_certificates_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenSSL names them."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert Tls().context.get_ca_certs() == []
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert len(Tls().context.get_ca_certs()) > 50


def test_certificates_that_the_environment_promises_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable."""
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    (tmp_path / "none.pem").write_text("nothing", encoding="ascii")
    for path in (tmp_path / "none.pem", tmp_path / "missing.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with pytest.raises(
            ConfigurationError, match=r"SSL_CERT_FILE is .*\.pem', which holds no certificates: .*correct"
        ):
            _ = Tls().context


@pytest.mark.parametrize("verify", [None, 123, b"/etc/ssl"])
def test_what_says_nothing_about_trust(verify: Any) -> None:
    """Is refused at once, not at the first call."""
    with pytest.raises(ConfigurationError, match=r"verify is a .*; give True, False, the path"):
        AsyncWiro("key", verify=verify)


async def test_the_clock() -> None:
    """Wall time, loop time, and numbers that never come twice."""
    assert abs(clock.now() - time.time()) < 5
    assert clock.loop_time() == pytest.approx(asyncio.get_running_loop().time(), abs=5)
    nonces = [clock.nonce() for _ in range(1000)]
    assert len(set(nonces)) == 1000
    assert all(nonce.isdigit() for nonce in nonces)


async def test_plain_addresses_need_none(serve: Serve) -> None:
    """It costs as much as thirty calls, so it waits for the first address that wants it."""

    async def echo(peer: Conversation) -> None:
        await peer.request()
        await peer.answer()

    tls, server = Tls(), await serve(echo)
    http = HttpTransport(tls, Tuning())
    await http.post(server.url + "/", {}, b"{}", 5.0)
    assert "_context" not in vars(tls)
    with pytest.raises(ConnectionFailedError):
        await http.post("https://no-such-host.invalid/", {}, b"{}", 5.0)
    assert "_context" in vars(tls)
    await http.aclose()
