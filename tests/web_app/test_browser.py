"""The example web app in Chromium: what a visitor sees, and what leaving does."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from wiro_async import AsyncWiro
from wiro_async.testing import ModelScript, RawOutput, Script, Step, WiroEmulator
from wiro_async.testing import timeline as played

if TYPE_CHECKING:
    from tests.conftest import Until
    from tests.web_app.conftest import Serving, Tab

    Browsing = Callable[[], AbstractAsyncContextManager[Tab]]

TEXT = "document.querySelector('.text').textContent"
STATES = "[...document.querySelectorAll('section')].map(card => card.dataset.state)"
BAR = "Number(document.querySelector('.bar').getAttribute('aria-valuenow'))"
RECORD_CHANGES = f"""
    bars = []; lengths = [];
    new MutationObserver(() => bars.push({BAR})).observe($('.bar'), {{attributes: true}});
    new MutationObserver(() => lengths.push({TEXT}.length)).observe($('.text'), {{childList: true}});
"""


def statuses(emulator: WiroEmulator) -> list[str]:
    """Return the status of each task."""
    return [task.status for task in emulator.ledger.tasks.values()]


async def test_an_answer_and_a_picture(
    slow_emulator: WiroEmulator, serving: Serving, browsing: Browsing, wiro: AsyncWiro
) -> None:
    """The text grows, the thinking is folded, the bar fills, and at the end both are complete."""
    async with serving(slow_emulator) as url, browsing() as tab:
        await tab.goto(url)
        await tab.js(RECORD_CHANGES)
        await tab.ask("Tides & <b>storms</b>")
        await tab.until(f"String({STATES}) == 'done,done'")
        text, thoughts = await tab.js(TEXT), await tab.js("document.querySelector('.thought').textContent")
        assert await tab.js(
            "document.querySelector('img').decode().then(() => document.querySelector('img').naturalWidth)"
        )
        shown = Image.open(io.BytesIO(base64.b64decode((await tab.call("Page.captureScreenshot"))["data"])))
        assert await tab.js("document.querySelector('details').open") is False
        bars, lengths = await tab.js("[bars, lengths]")
        assert not tab.said
    result = await wiro.run("emulator/writer", {"prompt": "Tides & <b>storms</b>"})
    for seen in (bars, lengths):
        assert seen == sorted(seen)
        assert len(set(seen)) > 2
    assert text == result.text
    assert thoughts == result.thinking
    assert len(shown.convert("RGB").getcolors(10**6) or ()) > 500


@pytest.mark.parametrize("text, picture", [("emulator/writer", "emulator/painter"), ("emulator/stuck",) * 2])
@pytest.mark.parametrize("leave", ["closes the tab", "presses stop", "goes elsewhere"])
async def test_leaving_stops_the_models(
    serving: Serving, browsing: Browsing, until: Until, text: str, picture: str, leave: str
) -> None:
    """Leaving stops both models, and nothing is requested again."""
    with WiroEmulator(speed=0.1) as emulator:
        async with serving(emulator, text, picture) as url, browsing() as tab:
            await tab.goto(url)
            await tab.ask("A lighthouse")
            await until(lambda: len(emulator.ledger.submissions) == 2)
            if text == "emulator/writer":
                await tab.until(f"{BAR} > 0 && document.querySelector('.thought').textContent")
            if leave == "closes the tab":
                await tab.close()
            elif leave == "presses stop":
                await tab.click(".go")
                await tab.until(f"String({STATES}) == 'stopped,stopped'")
            else:
                await tab.call("Page.navigate", url="about:blank")
            await until(lambda: statuses(emulator) == ["task_cancel"] * 2)
        assert emulator.ledger.count("Run/*") == 2


async def test_answers_are_only_text(serving: Serving, browsing: Browsing) -> None:
    """HTML in an answer is shown as text."""
    evil = "<img src=x onerror='window.hacked = 1'><script>window.hacked = 1</script>\n\ndata: &amp; </div>"
    steps = [Step("task_output", {"type": "answer", "raw": evil[:end]}) for end in (9, 40, len(evil))]
    content = RawOutput({"prompt": "", "raw": evil})
    model = ModelScript("test/evil", lambda given: Script(played(0.3, steps), (content,)))
    with WiroEmulator(models=[model], speed=5) as emulator:
        async with serving(emulator, "test/evil") as url, browsing() as tab:
            await tab.goto(url)
            await tab.ask("Anything")
            await tab.until(f"String({STATES}) == 'done,done'")
            assert await tab.js(TEXT) == evil
            assert await tab.js("document.querySelector('.text').children.length + (window.hacked || 0)") == 0


async def test_failures_and_retries(emulator: WiroEmulator, serving: Serving, browsing: Browsing, until: Until) -> None:
    """Each failure is a sentence with a button that retries."""
    async with serving(emulator, "emulator/failing", "emulator/failing") as url, browsing() as tab:
        await tab.goto(url)
        await tab.ask("Something hard")
        await tab.until(f"String({STATES}) == 'failed,failed'")
        message = await tab.js("document.querySelector('#answer .problem').innerText")
        assert "The model failed" in message
        await tab.click("#answer .problem button")
        await until(lambda: emulator.ledger.count("Run/*") == 3)
        await tab.until(f"String({STATES}) == 'failed,failed'")
    assert emulator.ledger.count("Run/*") == 3


async def test_a_server_that_goes_away(serving: Serving, browsing: Browsing) -> None:
    """The page says so, keeps its content, and requests nothing again."""
    with WiroEmulator(speed=0.1) as emulator:
        async with browsing() as tab:
            async with serving(emulator) as url:
                await tab.goto(url)
                await tab.ask("A lighthouse")
                await tab.until("document.querySelector('.thought').textContent")
            await tab.until(f"String({STATES}) == 'failed,failed'")
            assert "connection was lost" in await tab.js("document.querySelector('#answer .problem').innerText")
        assert emulator.ledger.count("Run/*") == 2
        assert statuses(emulator) == ["task_cancel"] * 2
