"""`python -m wiro_async.testing`."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

Process = subprocess.Popen[str]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """An emulator in its own process that writes its ledger to a file."""
    options = ["--no-secret", "--speed", "9", "--balance", "5", "--ledger", str(tmp_path / "ledger.json")]
    command = [sys.executable, "-m", "wiro_async.testing", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield running
        running.kill()


def _ready(process: Process) -> dict[str, str | None]:
    assert process.stdout
    options: dict[str, str | None] = json.loads(process.stdout.readline())
    return options


@pytest.mark.parametrize("ending", ["input", "signal"])
def test_it_serves_until_it_is_stopped(process: Process, ending: str, tmp_path: Path) -> None:
    """It prints one line with the options, serves, and writes the ledger as JSON."""
    options = _ready(process)
    assert options["api_secret"] is None
    url = f"{options['base_url']}/Run/emulator/queued"
    headers = {"user-agent": "x", "x-api-key": str(options["api_key"])}
    assert httpx.post(url, json={"prompt": "hi"}, headers=headers, verify=False).json()["result"] is True
    assert process.stdin
    if ending == "input":
        process.stdin.write("anything\n")
        process.stdin.close()
    else:
        process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    ledger = json.loads((tmp_path / "ledger.json").read_text())
    assert ledger["submissions"][0]["parameters"] == {"prompt": "hi"}
    assert ledger["calls"] == {"Run/emulator/queued": 1}
