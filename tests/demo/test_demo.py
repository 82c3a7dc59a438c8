"""The demo from its command line: files, output and exit codes."""

import io
import re
import subprocess
import sys
from decimal import Decimal
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image
from rich.console import Console

from wiro_async import __main__ as command
from wiro_async._demo import cli
from wiro_async._demo.parts import Plan
from wiro_async._demo.prompts import picture_specs
from wiro_async._demo.records import Picture, Totals, shown_money, shown_seconds
from wiro_async._demo.screen import Prose
from wiro_async._demo.sheet import contact_sheet
from wiro_async.testing import Respond, WiroEmulator


class Page(HTMLParser):
    """The links, pictures and captions of a contact sheet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.captions: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.tags[-2:] == ["figcaption", "span"]:
            self.captions.append(data)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed up the demo's emulator."""
    monkeypatch.setattr(cli, "WiroEmulator", partial(WiroEmulator, speed=20))


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, wiro_emulator: WiroEmulator) -> WiroEmulator:
    """An emulator that the demo takes for the live service."""
    monkeypatch.setenv("WIRO_API_KEY", wiro_emulator.api_key)
    monkeypatch.setenv("WIRO_API_SECRET", wiro_emulator.api_secret or "")
    monkeypatch.setenv("WIRO_API_BASE_URL", wiro_emulator.base_url)
    monkeypatch.setenv("WIRO_SOCKET_URL", wiro_emulator.socket_url)
    return wiro_emulator


def demo(output: Path, *arguments: str) -> int:
    """Run the demo, and return its exit code."""
    return command.main(["demo", "--output", str(output), *arguments])


def rows(shown: str) -> dict[str, list[str]]:
    """Return the rows of the table at the end by their names."""
    lines = shown[shown.index("wall time") :].splitlines()[1:]
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines if line.strip()]
    return {row[0]: row[1:] for row in cells if len(row) == 6}


@pytest.mark.usefixtures("fast")
def test_the_demo_saves_pictures_a_page_and_ends_with_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal there are plain lines, pictures, one page and exit code 0."""
    assert demo(tmp_path, "--pictures", "7", "--in-flight", "3") == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert re.search(r"pictures: +100%  7/7", shown)
    table = rows(shown)
    assert table["7 pictures"][:3] == ["7", "0", "$0.28"]
    assert table["all"][:2] == ["9", "0"]
    files = sorted((tmp_path / "pictures").iterdir())
    assert [file.name[:3] for file in files] == [f"{number:03d}" for number in range(1, 8)]
    for file, spec in zip(files, picture_specs(7), strict=True):
        with Image.open(file) as image:
            assert image.size == (spec.width, spec.height)


@pytest.mark.usefixtures("fast")
def test_the_page_needs_only_the_pictures_beside_it(tmp_path: Path) -> None:
    """Every URL is relative and leads to a file."""
    assert demo(tmp_path, "--pictures", "4") == 0
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert page.captions == ["a futuristic city at sunset, seen from the sea", *(w.prompt for w in picture_specs(4))]
    assert len(page.urls) == 2 * 5
    for url in page.urls:
        assert ":" not in url
        assert (tmp_path / unquote(url)).is_file()
    assert not {"script", "link", "iframe"} & set(page.tags)


@pytest.mark.usefixtures("fast")
def test_in_a_terminal_bars_move_and_thinking_is_dimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal there are colours, moving bars, and the same table."""
    console = Console(file=io.StringIO(), force_terminal=True, width=90, color_system="standard", legacy_windows=False)
    monkeypatch.setattr(cli, "Console", lambda: console)
    assert demo(tmp_path, "--pictures", "2") == 0
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "━" in shown
    assert "\x1b[2;3m" in shown
    assert "2/2 · 0 in flight" in shown


def test_live_runs_a_few_and_says_that_the_price_is_not_known(
    tmp_path: Path, live: WiroEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --live the environment selects the service. There are four pictures and no answer."""
    assert demo(tmp_path, "--live", "emulator/painter") == 0
    shown = capsys.readouterr().out
    assert "not known before" in shown
    assert "nothing was billed" not in shown
    assert live.ledger.count("Run/emulator/painter") == 5
    assert live.ledger.count("Run/*") == 5
    assert all(set(submission.parameters) == {"prompt"} for submission in live.ledger.submissions)
    assert rows(shown)["all"][:3] == ["5", "0", "$0.20"]


def test_live_can_stream_an_answer_too(tmp_path: Path, live: WiroEmulator) -> None:
    """With --live-text the page has an answer."""
    assert demo(tmp_path, "--live", "emulator/painter", "--live-text", "emulator/writer", "--pictures", "1") == 0
    assert live.ledger.count("Run/emulator/writer") == 1
    assert "Explain photography to me." in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_model_that_fails_makes_the_demo_fail(
    tmp_path: Path, live: WiroEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every part is played and counted, and the page shows the reasons."""
    assert demo(tmp_path, "--live", "emulator/failing", "--pictures", "2") == 1
    shown = capsys.readouterr().out
    assert "CUDA out of memory." in shown
    assert rows(shown)["all"][:3] == ["3", "3", "$0.00"]
    assert "CUDA out of memory." in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert live.ledger.count("Run/*") == 3


def test_a_picture_that_cannot_be_fetched_is_a_failure(
    tmp_path: Path, live: WiroEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other pictures are saved."""
    live.faults.http("files/*", Respond(410), times=1, after=1)
    assert demo(tmp_path, "--live", "emulator/painter", "--pictures", "3") == 1
    assert rows(capsys.readouterr().out)["3 pictures"][:2] == ["3", "1"]
    assert len(list((tmp_path / "pictures").iterdir())) == 2


def test_live_without_a_key_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is sent, and the error says what to set."""
    monkeypatch.delenv("WIRO_API_KEY", raising=False)
    assert demo(tmp_path, "--live", "owner/model") == 1
    assert "WIRO_API_KEY" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--pictures", "0"], ["--in-flight", "many"]])
def test_numbers_are_checked(tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid numbers are a message and exit code 2."""
    with pytest.raises(SystemExit, match="2"):
        demo(tmp_path, *wrong)
    assert "is not a number from 1" in capsys.readouterr().err


def test_an_interrupt_is_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is the usual one of an interrupted program."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_play", interrupt)
    assert demo(tmp_path) == 130
    assert "interrupted" in capsys.readouterr().out


@pytest.mark.usefixtures("fast")
def test_the_page_can_be_opened_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--open shows the page in the browser."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert demo(tmp_path, "--pictures", "1", "--open") == 0
    assert opened == [(tmp_path / "index.html").resolve().as_uri()]


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Help goes to standard output. Unknown commands are errors."""
    assert command.main(["--help"]) == 0
    assert "demo" in capsys.readouterr().out
    assert command.main(["fly"]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing library is one line, not a traceback."""
    monkeypatch.setitem(sys.modules, "wiro_async._demo.cli", None)
    assert command.main(["demo"]) == 1
    assert "pip install 'wiro-async[demo]'" in capsys.readouterr().err


def test_texts_of_models_cannot_break_the_page(tmp_path: Path) -> None:
    """Text is escaped, file names are quoted, and a failed run shows its reason."""
    plan = Plan("owner/<model>", None, 2, 1, tmp_path, False)
    odd = Picture(0, "<script>alert(1)</script>", file=tmp_path / "pictures" / "50 % & #1.png", ended=1.0)
    failed = Picture(1, "b", problem="<b>no</b>", started=1.0, ended=2.0)
    page = contact_sheet(tmp_path, None, None, [odd, failed], Totals("2 pictures", 2, 1, wall=2.0), plan)
    assert "<script" not in page
    assert "<b>no" not in page
    assert 'src="pictures/50%20%25%20%26%20%231.png"' in page


def test_prompts_are_unique() -> None:
    """Two hundred prompts are different, and the same ones every time."""
    assert len({spec.prompt for spec in picture_specs(200)}) == 200
    assert list(picture_specs(20)) == list(picture_specs(20))


def test_prose_breaks_between_words() -> None:
    """Lines are short enough and complete, however the pieces are cut."""
    console = Console(file=io.StringIO(), width=40)
    prose = Prose(console)
    text = "one two  three\n\nfour " + "five six seven " * 12
    for index in range(0, len(text), 7):
        prose.write(text[index : index + 7], "answer")
    prose.end()
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert "".join(console.file.getvalue().split()) == "".join(text.split())
    assert lines[1] == ""


def test_seconds_and_money() -> None:
    """Seconds have minutes from one minute on. Money has cents, or less."""
    assert [shown_seconds(s) for s in (0.04, 59.2, 61, 3600)] == ["0.0 s", "59.2 s", "1 min 01 s", "60 min 00 s"]
    assert [shown_money(Decimal(c)) for c in ("0", "0.0017", "0.04", "8")] == ["$0.00", "$0.0017", "$0.04", "$8.00"]


def test_the_package_is_a_command() -> None:
    """`python -m wiro_async` ends with the exit code of main."""
    done = subprocess.run([sys.executable, "-m", "wiro_async"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: python -m wiro_async demo" in done.stderr
