"""The session's TLS context, and the clock."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import certifi
import pytest

from wiro_async._errors import ConfigurationError
from wiro_async._transport import clock
from wiro_async._transport.tls import Tls


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


async def test_the_clock() -> None:
    """Wall time, numbers that never come twice, and chance."""
    assert abs(clock.now() - time.time()) < 5
    assert clock.loop_time() == pytest.approx(asyncio.get_running_loop().time(), abs=5)
    nonces = [clock.nonce() for _ in range(1000)]
    assert len(set(nonces)) == 1000
    assert all(nonce.isdigit() for nonce in nonces)
    assert all(0 <= clock.chance() <= 1 for _ in range(100))
