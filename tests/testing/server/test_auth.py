"""The firewall, the key, the signature."""

import hashlib
import hmac

import httpx
import pytest

from wiro_async.testing import WiroEmulator

AGENT = {"user-agent": "emulator-tests"}
BODY = {"taskid": "1"}


def _ask(emulator: WiroEmulator, headers: dict[str, str], endpoint: str = "Task/Detail") -> httpx.Response:
    url = f"{emulator.base_url}/{endpoint}"
    with httpx.Client(verify=False, trust_env=False) as http:
        return http.post(url, json=BODY, headers=AGENT | headers)


def _signed(key: str, secret: str, nonce: str) -> dict[str, str]:
    signature = hmac.new(key.encode(), f"{secret}{nonce}".encode(), hashlib.sha256).hexdigest()
    return {"x-api-key": key, "x-nonce": nonce, "x-signature": signature}


def _text(answer: httpx.Response) -> str:
    return str(answer.json()["errors"][0]["message"])


def test_the_default_user_agent_is_blocked(emulator: WiroEmulator) -> None:
    """httpx's default user agent gets a 403 page that is not JSON."""
    answer = _ask(emulator, {"user-agent": f"python-httpx/{httpx.__version__}"})
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")


def test_key_only(emulator: WiroEmulator) -> None:
    """Without a secret the right key is enough, and a signature is ignored."""
    key = {"x-api-key": "emulator-key"}
    assert _ask(emulator, key).status_code == 200
    assert _ask(emulator, key | {"x-nonce": "1", "x-signature": "none"}).status_code == 200
    refused = _ask(emulator, {"x-api-key": "wrong"})
    assert refused.status_code == 401
    assert _text(refused) == "Project authorization is not founded."


@pytest.mark.parametrize(
    "headers,problem",
    [
        (_signed("emulator-key", "emulator-secret", "1734513807"), ""),
        (_signed("emulator-key", "other-secret", "1734513807"), "is not valid"),
        (_signed("emulator-key", "emulator-secret", "not-a-number"), "is not valid"),
        ({"x-api-key": "emulator-key"}, "requires signature authentication"),
        ({"x-nonce": "1"}, "is not founded"),
    ],
)
def test_signature(headers: dict[str, str], problem: str) -> None:
    """With a secret, the nonce must be signed."""
    with WiroEmulator() as emulator:
        answer = _ask(emulator, headers)
    assert answer.status_code == (401 if problem else 200)
    assert problem in _text(answer)


def test_the_catalogue_needs_no_key(emulator: WiroEmulator) -> None:
    """Tool endpoints are public."""
    assert _ask(emulator, {}, "Tool/Explore").json()["result"] is True
