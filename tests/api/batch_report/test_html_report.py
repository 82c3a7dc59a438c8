"""The report: one page, readable without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import anyio.to_thread
import pytest

from wiro_async import AsyncWiro, BatchItem, BatchStats, ConfigurationError, RunRequest
from wiro_async._api.batch_report import batch_history as history
from wiro_async._api.batch_report import charts
from wiro_async._api.batch_report import html_report as report
from wiro_async._api.batch_report.batch_history import BUCKETS, MOST_SPANS, Flow, History

PAINTER = "emulator/painter"
VOID = {"meta", "img", "line", "path", "link", "br"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Page(HTMLParser):
    """A parsed page: its elements, its text, and what it would fetch. Its tags must be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


async def made(wiro: AsyncWiro, folder: Path) -> Path:
    """The report of a small batch."""
    small = {"width": 64, "height": 64, "seconds": 5}
    requests = [RunRequest(PAINTER, {**small, "prompt": f"A boat {n}"}, key=f"boat <{n}>") for n in range(6)]
    requests += [RunRequest("emulator/failing", {"reason": "<b>Out</b> of memory."})] * 3
    async with wiro.batch(requests, concurrency=4, save_to=folder / "out", budget="1") as batch:
        await batch.results()
        return await batch.write_report(folder / "report.html")


async def test_the_page(wiro: AsyncWiro, tmp_path: Path) -> None:
    """Totals, costs, reasons and pictures are there, escaped, and nothing is fetched from anywhere."""
    text = (await anyio.to_thread.run_sync((await made(wiro, tmp_path)).read_bytes)).decode()
    page = Page(text)
    assert {"totals", "timeline", "flow", "durations", "costs", "failures", "gallery"} <= page.ids
    words = re.sub(r"\s+", " ", page.text)
    for text in ("6 done", "3 failed", "$0.24 of $1.00", "emulator/painter 6 $0.2400", "<b>Out</b> of memory. 3"):
        assert text in words
    assert "boat <5>" in words
    assert len(page.sources) == 6
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "<script" not in text
    assert not re.search(r"url\(|@import|https?://", text)


@pytest.fixture
def browser() -> str:
    """A browser of this machine."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium here: the page was checked by a parser only")
    return found


async def test_the_page_in_a_browser(wiro: AsyncWiro, browser: str, tmp_path: Path) -> None:
    """Chromium draws it in colour, and logs no problem."""
    page, picture = await made(wiro, tmp_path), tmp_path / "page.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,2200"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", f"--screenshot={picture}"]

    def draw() -> tuple[str, int]:
        from PIL import Image

        done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=90, check=True)
        with Image.open(picture) as image:
            return done.stderr, len(image.convert("RGB").resize((300, 550)).getcolors(10**6) or ())

    said, colours = await anyio.to_thread.run_sync(draw)
    assert "CONSOLE" not in said
    assert colours > 500


def test_an_empty_report() -> None:
    """A batch without items has a page, too."""
    stats = BatchStats(None, 0, 0, 0, 0, 0, Decimal(0), 0.0, 0.0, None)
    page = Page(report.render(stats, History()))
    assert "timeline" not in page.ids
    assert "0 done" in re.sub(r"\s+", " ", page.text)


def test_without_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install."""

    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigurationError, match=r"jinja2.*pip install 'wiro-async\[report\]'"):
        report.render(BatchStats(0, 0, 0, 0, 0, 0, Decimal(0), 0.0, 0.0, None), History())


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    """A file that is gone or broken is left out of the gallery."""
    broken = tmp_path / "a.png"
    broken.write_bytes(b"no picture")
    assert report.thumbnail(broken) is None
    assert report.thumbnail(tmp_path / "gone.png") is None


@pytest.mark.parametrize("error", [SyntaxError, TypeError, RuntimeError])
def test_pictures_whose_decoder_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """Decoders raise errors of many kinds, also while they shrink a picture. None of them ends the report."""
    from PIL import Image

    picture = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(picture)
    assert report.thumbnail(picture)

    def refuse(self: Image.Image, size: tuple[int, int]) -> None:
        raise error("broken data")

    monkeypatch.setattr(Image.Image, "thumbnail", refuse)
    assert report.thumbnail(picture) is None


async def test_text_that_utf_8_cannot_hold(tmp_path: Path) -> None:
    """Half of a surrogate pair, as in a log that was cut, is shown as a question mark."""
    shown = History()
    shown.reasons["boom \ud83d"] += 1
    stats = BatchStats(1, 1, 0, 0, 1, 0, Decimal(0), 1.0, 1.0, 0.0)
    page = await report.write_report(tmp_path / "report.html", stats, shown)
    assert "boom ?" in await anyio.to_thread.run_sync(page.read_text)


def test_very_many_items_take_bounded_space() -> None:
    """Of a long batch some items are shown, and all are counted."""
    clock = [0.0]
    shown = History(lambda: clock[0])
    shown.begin()
    request = RunRequest("o/m")
    items = 3 * MOST_SPANS
    for number in range(items):
        clock[0] = number * 0.1 + 1
        shown.add(BatchItem(number, str(number), request, None, ValueError(f"{number}"), 1), number * 0.1, clock[0])
    assert MOST_SPANS / 2 <= len(shown.spans) <= MOST_SPANS
    assert sum(shown.durations.values()) == sum(shown.reasons.values()) == items
    assert len(shown.reasons) == history.MOST_REASONS + 1
    assert len(shown.flow.starts) == BUCKETS
    assert sum(shown.flow.starts) == sum(shown.flow.ends) == items
    assert max(shown.flow.levels()) <= 11 + shown.flow.width / 0.1
    line = charts.timeline(shown.spans, clock[0])
    assert line is not None
    assert line.shown == len(shown.spans)
    assert line.failed.count("M") == line.shown


def test_flow_counts_what_overlaps() -> None:
    """Two runs side by side, then one."""
    flow = Flow(width=1.0)
    flow.add(0.5, 3.5)
    flow.add(1.5, 2.5)
    assert flow.levels()[:5] == [1, 2, 2, 1, 0]
    chart = charts.flow_chart(flow, 4.0)
    assert chart is not None
    assert chart.peak == 2


@pytest.mark.parametrize(
    "seconds, text", [(0, "0 s"), (0.354, "354 ms"), (1.42, "1.4 s"), (42, "42 s"), (90, "1.5 min"), (7200, "2 h")]
)
def test_times_for_people(seconds: float, text: str) -> None:
    """Short, with a unit."""
    assert charts.short_time(seconds) == text


@pytest.mark.parametrize("value, top", [(1, 1), (1.1, 2), (3, 5), (7, 10), (0.03, 0.05), (200, 200)])
def test_axes_end_at_round_numbers(value: float, top: float) -> None:
    """1, 2 or 5 times a power of ten."""
    assert charts.scale_top(value) == pytest.approx(top)
