"""Keys and signatures."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.http.auth import Credentials

# printf %s s3cret1734513809 | openssl dgst -sha256 -hmac k3y
KNOWN = "7799f77db4d2001560a6c72ac9346c2378d6a5a84b5049e321ede5ba691c1883"


def test_a_known_signature() -> None:
    """It equals the one of another program."""
    assert Credentials("k3y", "s3cret").headers("1734513809") == {
        "x-api-key": "k3y",
        "x-nonce": "1734513809",
        "x-signature": KNOWN,
    }


@given(
    st.text(st.characters(codec="ascii")), st.text(st.characters(codec="ascii"), min_size=1), st.integers(min_value=0)
)
def test_the_signature_is_the_definitions(key: str, secret: str, nonce: int) -> None:
    """HMAC-SHA256 by its definition (RFC 2104): key = API key, message = API secret + nonce."""
    padded = (hashlib.sha256(key.encode()).digest() if len(key) > 64 else key.encode()).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + f"{secret}{nonce}".encode()).digest()
    expected = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).hexdigest()
    assert Credentials(key, secret).headers(str(nonce))["x-signature"] == expected


def test_without_a_secret_nothing_is_signed() -> None:
    """A key alone is sent alone. Without a key there are no headers."""
    assert Credentials("k3y").headers("1") == {"x-api-key": "k3y"}
    assert Credentials().headers("1") == {}


def test_a_secret_without_a_repr() -> None:
    """Its repr hides all of it."""
    assert Credentials("k3y", "s3cret").secrets == ("k3y", "s3cret")
    assert Credentials("k3y").secrets == ("k3y",)
    assert Credentials().secrets == ()


def test_the_keys_are_never_shown() -> None:
    """Neither by repr nor by str."""
    assert "k3y" not in f"{Credentials('k3y', 's3cret')!r} {Credentials('k3y', 's3cret')}"
    assert "s3cret" not in f"{Credentials('k3y', 's3cret')!r}"
