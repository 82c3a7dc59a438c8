"""The three parts of the demo, as a user of the SDK would write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import anyio
import attrs

from wiro_async._api.batch.batch import Batch
from wiro_async._api.results.batch_items import BatchItem, RunRequest
from wiro_async._api.results.task_result import TaskResult
from wiro_async._demo.prompts import ONE, QUESTION, PictureSpec, picture_specs
from wiro_async._demo.records import Answer, Picture, Totals, shown_money, shown_seconds
from wiro_async._demo.screen import Bar, Screen
from wiro_async._errors import WiroError
from wiro_async._protocol.tasks.events import Progress, StatusChanged, TextReset
from wiro_async._records.task_event import TaskEvent
from wiro_async._session import AsyncWiro

PICTURES = "pictures"
ONE_SIZE = (1280, 720)
ONE_SECONDS = 2.5
ANSWER_SECONDS = 4.0


@attrs.frozen
class Plan:
    """What the demo does."""

    picture_model: str
    text_model: str | None  # the model of the answer; None skips it
    pictures: int
    in_flight: int
    output: Path
    paced: bool  # whether the models accept the emulator's own parameters, sizes and duration


async def one_picture(wiro: AsyncWiro, plan: Plan, screen: Screen) -> tuple[Picture, Totals]:
    """Make one picture with `run`, and show its progress in a bar."""
    width, height = ONE_SIZE
    paced = {"width": width, "height": height, "seconds": ONE_SECONDS} if plan.paced else {}
    start = anyio.current_time()
    with screen.bar("picture") as bar:
        fraction: float | None = None

        def show(event: TaskEvent) -> None:
            nonlocal fraction
            match event:
                case Progress():
                    fraction = event.fraction
                    bar.show(fraction, _words(event))
                case StatusChanged():
                    bar.show(fraction, event.status.removeprefix("task_").replace("_", " "))

        result = await wiro.run(plan.picture_model, {"prompt": ONE, **paced}, on_event=show)
        file = await result.output.save(plan.output / f"one{_suffix(result)}", overwrite=True)
        bar.show(1.0, "saved")
    wall = anyio.current_time() - start
    elapsed, cost = result.elapsed or wall, result.cost or Decimal(0)
    screen.done(f"{file} · {shown_seconds(elapsed)} · {shown_money(cost)}")
    picture = Picture(0, ONE, width / height if plan.paced else 1.0, file, None, 0.0, wall, elapsed, cost)
    return picture, Totals("one picture", 1, 0, cost, wall, elapsed)


async def one_answer(wiro: AsyncWiro, plan: Plan, screen: Screen) -> tuple[Answer, Totals]:
    assert plan.text_model is not None
    paced = {"seconds": ANSWER_SECONDS} if plan.paced else {}
    start = anyio.current_time()
    prose = screen.prose()
    async with wiro.stream(plan.text_model, {"prompt": QUESTION, **paced}) as stream:
        async for delta in stream:
            if isinstance(delta, TextReset):
                prose.end(blank=True)
            else:
                prose.write(delta.text, delta.kind)
        result = await stream.result()
    prose.end()
    wall = anyio.current_time() - start
    elapsed, cost = result.elapsed or wall, result.cost or Decimal(0)
    screen.done(f"{len(result.text.split())} words · {shown_seconds(elapsed)} · {shown_money(cost)}")
    return Answer(QUESTION, result.text, result.thinking, elapsed, cost), Totals(
        "one answer", 1, 0, cost, wall, elapsed
    )


async def many_pictures(wiro: AsyncWiro, plan: Plan, screen: Screen) -> tuple[list[Picture], Totals]:
    """Make a batch of pictures, and save each one as soon as it is ready."""
    album = _Album(plan, anyio.current_time())
    with screen.bar("pictures") as bar:
        async with (
            anyio.create_task_group() as saving,
            wiro.batch(album.requests(), concurrency=plan.in_flight) as batch,
        ):
            album.show(bar, batch)
            async for item in batch:
                saving.start_soon(album.take, item)
                album.show(bar, batch)
    wall = anyio.current_time() - album.start
    pictures = sorted(album.pictures, key=lambda picture: picture.index)
    failed = [picture for picture in pictures if picture.problem]
    for picture in failed[:5]:
        screen.problem(f"{picture.prompt}: {picture.problem}")
    screen.done(f"{len(pictures) - len(failed)} pictures in {plan.output / PICTURES}")
    return pictures, Totals(
        f"{len(pictures)} pictures",
        len(pictures),
        len(failed),
        sum((picture.cost for picture in pictures), Decimal(0)),
        wall,
        sum(picture.elapsed for picture in pictures),
    )


class _Album:
    """Yields the requests when the batch asks for them, and keeps the results."""

    def __init__(self, plan: Plan, start: float) -> None:
        self._plan = plan
        self._started: dict[int, float] = {}
        self._specs: dict[int, PictureSpec] = {}
        self.start = start
        self.pictures: list[Picture] = []

    def requests(self) -> Iterator[RunRequest]:
        for spec in picture_specs(self._plan.pictures):
            self._specs[spec.index] = spec
            self._started[spec.index] = self._now()
            more = {"width": spec.width, "height": spec.height, "seconds": spec.seconds} if self._plan.paced else {}
            yield RunRequest(self._plan.picture_model, {"prompt": spec.prompt, **more}, key=spec.prompt)

    def show(self, bar: Bar, batch: Batch) -> None:
        stats, total = batch.stats, self._plan.pictures
        ended = stats.succeeded + stats.failed
        words = f"{ended}/{total} · {stats.in_flight} in flight · {stats.rate:.1f}/s · {shown_money(stats.cost)}"
        bar.show(ended / total, words)

    async def take(self, item: BatchItem) -> None:
        spec, ended = self._specs.pop(item.index), self._now()
        picture = Picture(
            item.index,
            spec.prompt,
            spec.ratio if self._plan.paced else 1.0,
            started=self._started.pop(item.index),
            ended=ended,
        )
        self.pictures.append(await self._save(picture, item))

    async def _save(self, picture: Picture, item: BatchItem) -> Picture:
        result = item.result
        if result is None:
            return attrs.evolve(picture, problem=str(item.error))
        name = f"{picture.index + 1:03d}-{_slug(picture.prompt)}{_suffix(result)}"
        wall = picture.ended - picture.started
        picture = attrs.evolve(picture, elapsed=result.elapsed or wall, cost=result.cost or Decimal(0))
        try:
            file = await result.output.save(self._plan.output / PICTURES / name, overwrite=True)
        except (WiroError, OSError) as error:
            return attrs.evolve(picture, problem=str(error))
        return attrs.evolve(picture, file=file)

    def _now(self) -> float:
        return anyio.current_time() - self.start


def _words(progress: Progress) -> str:
    steps = f"step {progress.step} of {progress.total}" if progress.step and progress.total else progress.label
    left = f" · {progress.eta:.1f} s left" if progress.eta is not None else ""
    return f"{steps}{left}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")[:48].rstrip("-")


def _suffix(result: TaskResult) -> str:
    suffix = Path(result.output.name).suffix
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", suffix) else ".png"
