"""The examples, each run as a program, against the emulator."""

import os
import re
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from wiro_async.testing import WiroEmulator

EXAMPLES = Path(__file__).parents[1] / "examples"
Example = Callable[..., str]


@pytest.fixture
def environment(wiro_emulator: WiroEmulator) -> dict[str, str]:
    """The environment in which an example finds the emulator."""
    return {
        **os.environ,
        "WIRO_API_KEY": wiro_emulator.api_key,
        "WIRO_API_SECRET": wiro_emulator.api_secret or "",
        "WIRO_API_BASE_URL": wiro_emulator.base_url,
        "WIRO_SOCKET_URL": wiro_emulator.socket_url,
        "PYTHONIOENCODING": "utf-8",
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def example(tmp_path: Path, environment: dict[str, str]) -> Example:
    """A function that runs an example in an empty folder and returns its output."""

    def run(name: str, *arguments: str, stdin: str = "") -> str:
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        done = subprocess.run(
            command,
            input=stdin,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        return done.stdout

    return run


def test_run(example: Example, tmp_path: Path) -> None:
    """The picture is saved."""
    assert "0.png" in example("run.py", "a fox", "emulator/painter")
    assert (tmp_path / "pictures" / "0.png").read_bytes().startswith(b"\x89PNG")


def test_follow(example: Example, tmp_path: Path) -> None:
    """Status and progress are shown until the end."""
    shown = example("follow.py", "a fox", "emulator/painter")
    assert shown.splitlines()[-2:] == ["exit code 0", "picture.png"]
    assert (tmp_path / "picture.png").is_file()


def test_stream(example: Example) -> None:
    """Thinking is dimmed, the answer follows, then tokens and cost."""
    shown = example("stream.py", "Explain tides", "emulator/writer")
    assert "\x1b[2m" in shown
    assert "tides" in shown
    assert "tokens, $" in shown.splitlines()[-1]


def test_chat(example: Example) -> None:
    """Each line is a turn, and the tool is called."""
    shown = example("chat.py", "emulator/assistant", stdin="What time is it?\nAnd now?\n\n").splitlines()
    assert "get_time {}" in shown[0]
    assert "get_time says 20" in shown[2]
    assert shown[-1].startswith("2 turns, ")


def test_batch(example: Example, tmp_path: Path) -> None:
    """Every line becomes a picture with its own name."""
    (tmp_path / "prompts.txt").write_text("a fox\n\na city\na rose\n", encoding="utf-8")
    shown = example("batch.py", "prompts.txt", "emulator/painter")
    assert shown.splitlines()[-1].startswith("3 done, 0 failed, $0.12")
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"00001.png", "00003.png", "00004.png"}


def test_voice(example: Example, tmp_path: Path) -> None:
    """The answer of the echo equals the question."""
    with wave.open(str(tmp_path / "question.wav"), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", "not compressed"))
        file.writeframes(os.urandom(50_000))
    shown = example("voice.py", "question.wav", "answer.wav", "emulator/echo", "1")
    assert "assistant: I heard turn 1." in shown
    assert shown.splitlines()[-1].startswith("answer.wav: 1.04167 s, $0.002")
    assert (tmp_path / "answer.wav").read_bytes() == (tmp_path / "question.wav").read_bytes()


def test_pick_up(example: Example, tmp_path: Path) -> None:
    """One process starts a run, and another one finishes it."""
    token = example("pick_up.py", "start", "a fox", "emulator/painter").strip()
    assert example("pick_up.py", "finish", token).strip() == "picture.png"
    assert (tmp_path / "picture.png").is_file()


@pytest.mark.parametrize("is_killed", [False, True])
def test_job_queue(
    environment: dict[str, str], tmp_path: Path, database_url: str, wiro_emulator: WiroEmulator, is_killed: bool
) -> None:
    """A worker paints what was ordered. If it is killed, the next one follows the run that is already paid for."""
    environment["DATABASE_URL"] = database_url

    def job_queue(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(EXAMPLES / "job_queue.py"), *arguments]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    with job_queue("order", "order-1", "a fox", "emulator/painter") as order:
        _, errors = order.communicate(timeout=60)
        assert not errors
    if is_killed:
        with job_queue("work") as worker:
            while not wiro_emulator.ledger.submissions:
                assert worker.poll() is None
                time.sleep(0.002)
            worker.kill()
    environment["DRAIN"] = "1"
    with job_queue("work", "0") as worker:
        printed, errors = worker.communicate(timeout=60)
    assert worker.returncode == 0, errors
    assert printed.split() == ["order-1", "0.png"]
    assert len(wiro_emulator.ledger.submissions) == 1


def test_web_app(tmp_path: Path, environment: dict[str, str]) -> None:
    """The app serves its page and answers until Ctrl-C. The tests in web_app/ check the rest."""
    command = [sys.executable, str(EXAMPLES / "web_app.py"), "0", "emulator/writer", "emulator/painter"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, encoding="utf-8", bufsize=1
    ) as server:
        try:
            assert server.stderr is not None
            url = next(filter(None, (re.search(r"http://127\S+", line) for line in server.stderr))).group()
            assert "<title>Ask" in httpx.get(url).text
            events = httpx.post(f"{url}/answer", json={"prompt": "tides"}, timeout=30).text
        finally:
            server.send_signal(signal.SIGINT)
        errors = server.stderr.read()
    assert "event: delta" in events
    assert "event: done" in events
    assert "Traceback" not in errors
    assert server.returncode == 0


def test_every_example_is_complete() -> None:
    """Each has a PEP 723 header, a docstring with its command, and a test here."""
    tested = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# /// script\n# requires-python = ")
        assert f"python {path.name}" in text
        assert f'"{path.name}"' in tested
