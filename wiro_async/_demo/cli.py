"""The demo's command line."""

from __future__ import annotations

import argparse
import asyncio
import webbrowser
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import attrs
from rich.console import Console

from wiro_async._demo.parts import PICTURES, Plan, many_pictures, one_answer, one_picture
from wiro_async._demo.records import Answer, Picture, Totals
from wiro_async._demo.screen import Screen
from wiro_async._demo.sheet import contact_sheet
from wiro_async._errors import ConfigurationError, WiroError
from wiro_async._session import AsyncWiro
from wiro_async.testing import WiroEmulator

T = TypeVar("T")
EMULATED, LIVE = (200, 50), (4, 4)  # number of pictures, and how many in flight
PAINTER, WRITER = "emulator/painter", "emulator/writer"
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code; 0 if everything worked."""
    options = _parser().parse_args(arguments)
    pictures, in_flight = LIVE if options.live else EMULATED
    plan = Plan(
        picture_model=options.live or PAINTER,
        text_model=options.live_text if options.live else WRITER,
        pictures=options.pictures or pictures,
        in_flight=options.in_flight or in_flight,
        output=options.output,
        paced=not options.live,
    )
    screen = Screen(Console())
    try:
        worked = asyncio.run(_play(plan, screen))
    except KeyboardInterrupt:
        screen.problem("interrupted; running tasks have been stopped")
        return INTERRUPTED
    except ConfigurationError as error:
        screen.problem(str(error))
        return 1
    if options.open:
        webbrowser.open((plan.output / "index.html").resolve().as_uri())
    return 0 if worked else 1


async def _play(plan: Plan, screen: Screen) -> bool:
    await anyio.Path(plan.output / PICTURES).mkdir(parents=True, exist_ok=True)
    async with _session(plan, screen) as wiro:
        return await _Show(wiro, plan, screen).play()


@asynccontextmanager
async def _session(plan: Plan, screen: Screen) -> AsyncGenerator[AsyncWiro]:
    if not plan.paced:
        async with AsyncWiro() as wiro:
            screen.title("wiro_async", f"live with {plan.picture_model}")
            screen.note("The cost of these runs is not known before; the table at the end shows it.")
            yield wiro
        return
    async with WiroEmulator() as emulator, AsyncWiro(**emulator.options()) as wiro:
        screen.title("wiro_async", "on an emulator on this machine: nothing leaves it, nothing is billed")
        yield wiro


@attrs.define
class _Show:
    """Plays the parts one after the other. A part that fails does not stop the others."""

    _wiro: AsyncWiro
    _plan: Plan
    _screen: Screen
    _totals: list[Totals] = attrs.field(factory=list[Totals])

    async def play(self) -> bool:
        """Play all parts, and return whether everything worked."""
        plan, screen = self._plan, self._screen
        screen.part("One picture", f"run({plan.picture_model!r}, …, on_event=…)")
        one = await self._part("one picture", 1, one_picture(self._wiro, plan, screen))
        answer = await self._answer()
        screen.part(
            "Many pictures", f"batch({plan.picture_model!r}, …, concurrency={plan.in_flight}): {plan.pictures} pictures"
        )
        many = await self._part("pictures", plan.pictures, many_pictures(self._wiro, plan, screen))
        await self._close(one, answer, many or [])
        return not any(totals.failures for totals in self._totals)

    async def _answer(self) -> Answer | None:
        plan, screen = self._plan, self._screen
        if plan.text_model is None:
            return None
        screen.part("One answer", f"stream({plan.text_model!r}, …)")
        return await self._part("one answer", 1, one_answer(self._wiro, plan, screen))

    async def _part(self, name: str, runs: int, part: Awaitable[tuple[T, Totals]]) -> T | None:
        start = anyio.current_time()
        try:
            made, totals = await part
        except (WiroError, OSError) as error:
            self._screen.problem(f"{type(error).__name__}: {error}")
            wall = anyio.current_time() - start
            self._totals.append(Totals(name, runs, runs, wall=wall, alone=wall))
            return None
        self._totals.append(totals)
        return made

    async def _close(self, one: Picture | None, answer: Answer | None, many: list[Picture]) -> None:
        page = self._plan.output / "index.html"
        html = contact_sheet(page.parent, one, answer, many, self._totals[-1], self._plan)
        await anyio.Path(page).write_text(html, encoding="utf-8")
        note = "The emulator's prices: nothing was billed." if self._plan.paced else ""
        everything = sum(self._totals[1:], self._totals[0])
        self._screen.table([*self._totals, everything], note)
        self._screen.note(f"Open {page} in a browser to see the pictures.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wiro_async demo",
        description="A picture, an answer and a batch of pictures, on an emulator or live.",
    )
    parser.add_argument("--live", metavar="MODEL", help="use this live picture model; needs WIRO_API_KEY")
    parser.add_argument("--live-text", metavar="MODEL", help="with --live: also stream an answer of this model")
    parser.add_argument("--pictures", type=_count, help="number of pictures (200; live 4)")
    parser.add_argument("--in-flight", type=_count, help="number of pictures in flight (50; live 4)")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="output folder (demo-output)")
    parser.add_argument("--open", action="store_true", help="open the contact sheet in a browser at the end")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)
