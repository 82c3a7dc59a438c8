"""A program is killed while its runs are being answered, and started again: nothing is billed twice.

The service lists tasks in ways that nobody promised. Whatever it does, a task that exists is adopted or left to the
user. Only where it shows that no task was made is the run submitted again.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import pytest

from wiro_async import AsyncWiro, BatchItem, SubmissionUnknownError, Timeouts, Tuning

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

MODEL = "owner/model"
TUNING = Tuning(search_pause=0.05, search_max_pause=0.1, poll_first=0.05, poll_silence=0.1, poll_min=0.05)
HOUR = 3600.0
CHILD = """
import asyncio, json, sys
from wiro_async import AsyncWiro

async def main(options, journal, inputs, concurrency):
    async with AsyncWiro(**options) as wiro:
        async with wiro.batch("owner/model", inputs, journal=journal, concurrency=concurrency) as batch:
            await batch.results()

asyncio.run(main(*json.loads(sys.argv[1])))
"""
Row: TypeAlias = dict[str, Any]


def inputs_of(count: int) -> list[dict[str, object]]:
    """This many different inputs, with text, a number and a switch."""
    return [{"prompt": f"a cat with the number {number}", "size": 4, "tile": True} for number in range(count)]


@attrs.define(eq=False)
class Service:
    """A service that stalls runs, and lists tasks in its own way.

    Attributes:
        stalls: how many runs are not answered.
        takes_stalled: whether these have become tasks.
        echo: changes the row of a task, as lists and details show it.
        order: changes the order of all rows, given newest first.
        page: cuts a page out of the rows, given where it starts and how many rows are asked for.
        lag: seconds until a task is listed.
    """

    raw: RawWiro
    stalls: int = 2
    takes_stalled: bool = True
    echo: Callable[[Row], Row] = attrs.field(default=lambda row: row)
    order: Callable[[list[Row]], list[Row]] = attrs.field(default=lambda rows: rows)
    page: Callable[[list[Row], int, int], list[Row]] = attrs.field(
        default=lambda rows, start, limit: rows[start : start + limit]
    )
    lag: float = 0.0
    is_readable: bool = True
    stalled: int = 0
    _made_at: dict[str, float] = attrs.field(factory=dict[str, float])

    def __attrs_post_init__(self) -> None:
        self.raw.routes |= {"Run": self.run, "Task/List": self.list_tasks, "Task/Detail": self.detail}

    def make(self, given: dict[str, Any], age: float = 0.0) -> dict[str, Any]:
        """Take a run."""
        answer = self.raw.take_run(MODEL, given)
        self.raw.rows[answer["taskid"]]["createtime"] = str(int(time.time() - age))
        self._made_at[answer["taskid"]] = time.monotonic() - age
        return answer

    async def run(self, peer: Peer) -> None:
        """Take a run, and answer it unless it is stalled."""
        if self.stalled < self.stalls:
            self.stalled += 1
            if self.takes_stalled:
                self.make(peer.sent)
            await peer.gone()
            return
        await peer.respond_json(self.make(peer.sent))

    async def list_tasks(self, peer: Peer) -> None:
        """List the tasks."""
        if not self.is_readable:
            await peer.respond_json({"result": False, "errors": [{"code": 0, "message": "not now"}]}, status="403 No")
            return
        rows = [row for row in self.raw.rows.values() if time.monotonic() - self._made_at[row["id"]] >= self.lag]
        if peer.sent.get("order") != "ASC":
            rows = self.order(rows[::-1])
        rows = self.page(rows, int(peer.sent["start"]), int(peer.sent["limit"]))
        await peer.respond_json({"result": True, "errors": [], "tasklist": [self.echo({**row}) for row in rows]})

    async def detail(self, peer: Peer) -> None:
        """Read a task."""
        asked = {peer.sent.get("taskid"), peer.sent.get("tasktoken")}
        rows = [self.echo({**row}) for row in self.raw.rows.values() if asked & {row["id"], row["socketaccesstoken"]}]
        await peer.respond_json({"result": True, "errors": [], "tasklist": rows})

    def bills(self) -> Counter[str]:
        """Count the tasks of each prompt, by the account of the server."""
        return Counter(given["prompt"] for _, given in self.raw.runs)

    async def kill_while_stalled(self, journal: Path, inputs: list[dict[str, object]], concurrency: int) -> None:
        """Run a batch in another process, and kill that when its first runs are stalled."""
        arguments = json.dumps([self.raw.options(), str(journal), inputs, concurrency])
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, arguments)
        async with asyncio.timeout(20):
            while self.stalled < self.stalls:  # noqa: ASYNC110 - the server sends no event
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        await child.wait()

    async def restart(
        self, journal: Path, inputs: list[dict[str, object]], concurrency: int = 2, **options: Any
    ) -> list[BatchItem]:
        """Run the batch again, in this process."""
        async with (
            AsyncWiro(**self.raw.options(), tuning=TUNING, timeout=Timeouts(request=2.0), **options) as wiro,
            wiro.batch(MODEL, inputs, journal=journal, concurrency=concurrency, journal_grace=0.3) as batch,
        ):
            return sorted(await batch.results(), key=lambda item: item.index)


def with_parameters(**more: str) -> dict[str, Any]:
    """The service echoes parameters that were not sent."""
    return {"echo": lambda row: {**row, "parameters": {**row["parameters"], **more}}}


def with_prompt(change: Callable[[str], str]) -> dict[str, Any]:
    """The service echoes the prompt in another form."""

    def echo(row: Row) -> Row:
        given = row["parameters"]
        return {**row, "parameters": {**given, "prompt": change(given["prompt"])}}

    return {"echo": echo}


def with_fields(**fields: Any) -> dict[str, Any]:
    """The service shows other fields."""
    return {"echo": lambda row: {**row, **fields}}


def with_clock(ahead: float) -> dict[str, Any]:
    """The clock of the service is off."""
    return {"echo": lambda row: {**row, "createtime": str(int(float(row["createtime"]) + ahead))}}


def shuffled(rows: list[Row]) -> list[Row]:
    """In a new order each time."""
    return random.sample(rows, len(rows))


LISTS: dict[str, dict[str, Any]] = {
    "as documented": {},
    "one extra parameter": with_parameters(seed="-1"),
    "defaults": with_parameters(seed="-1", steps="20", style="auto"),
    "capital letters": with_prompt(str.upper),
    "escaped text": with_prompt(lambda text: text.replace(" ", "&#32;")),
    "text that is cut": with_prompt(lambda text: text[:18]),
    "numbers in words": with_parameters(size="four"),
    "another case of the slug": with_fields(modelslugowner="Owner", modelslugproject="MODEL"),
    "another spelling of the slug": with_fields(modelslugproject="mo-del"),
    "no slug": with_fields(modelslugowner="", modelslugproject=""),
    "no parameters": with_fields(parameters=None),
    "no ids": {"echo": lambda row: {**row, "id": ""}},
    "no times": with_fields(createtime="", starttime=""),
    "clock ahead": with_clock(7 * HOUR),
    "clock behind": with_clock(-7 * HOUR),
    "zone west": with_clock(-11.5 * HOUR),
    "oldest first": {"order": lambda rows: rows[::-1]},
    "random order": {"order": shuffled},
    "limit ignored": {"page": lambda rows, start, limit: rows[start : start + 2]},
    "always the first page": {"page": lambda rows, start, limit: rows[:3]},
    "pages with gaps": {"page": lambda rows, start, limit: rows[start * 2 : start * 2 + 2]},
    "cut off": {"page": lambda rows, start, limit: rows[:4][start : start + limit]},
    "cut off, oldest first": {"page": lambda rows, start, limit: rows[::-1][:3][start : start + limit]},
    "empty": {"page": lambda rows, start, limit: []},
    "late": {"lag": 0.8},
    "not readable": {"is_readable": False},
}


@pytest.mark.parametrize("has_history", [False, True], ids=["new account", "old account"])
@pytest.mark.parametrize("lists", LISTS)
async def test_tasks_that_were_made_are_billed_once(
    raw: RawWiro, tmp_path: Path, lists: str, has_history: bool
) -> None:
    """They are adopted, or left to the user."""
    service, journal, inputs = Service(raw, **LISTS[lists]), tmp_path / "run.sqlite", inputs_of(5)
    if has_history:  # other programs have made equal tasks, minutes and hours ago
        for given, age in zip(inputs * 2, range(10, 0, -1), strict=True):
            service.make({**given}, age * 600.0)
    await service.kill_while_stalled(journal, inputs, 2)
    raw.runs[:] = raw.runs[10:] if has_history else raw.runs
    items = await service.restart(journal, inputs)
    assert service.bills() == {given["prompt"]: 1 for given in inputs}
    assert {type(item.error) for item in items} <= {type(None), SubmissionUnknownError}
    assert all(item.error is None for item in items[2:])
    for item in items:  # nobody gets the result of another run
        if item.result is not None:
            token = item.result.info.token
            row = next(row for row in raw.rows.values() if row["socketaccesstoken"] == token)
            assert row["parameters"]["prompt"] == inputs[item.index]["prompt"]
            assert not has_history or int(row["id"]) >= 1010
    if lists == "as documented":
        assert all(item.error is None for item in items)


@pytest.mark.parametrize("has_history", [False, True], ids=["new account", "old account"])
@pytest.mark.parametrize("count", [3, 20, 100])
async def test_runs_that_never_arrived_are_submitted_again(
    raw: RawWiro, tmp_path: Path, count: int, has_history: bool
) -> None:
    """By itself: the other items prove how the service lists tasks."""
    service, journal, inputs = Service(raw, takes_stalled=False), tmp_path / "run.sqlite", inputs_of(count)
    if has_history:
        service.make({**inputs[0]}, 600.0)
    await service.kill_while_stalled(journal, inputs, 2)
    raw.runs.clear()
    items = await service.restart(journal, inputs, concurrency=20)
    assert [item.error for item in items] == [None] * count
    assert service.bills() == {given["prompt"]: 1 for given in inputs}


async def test_without_a_witness_nothing_is_proven(raw: RawWiro, tmp_path: Path) -> None:
    """All runs of the batch were lost. They wait for a later run, or for a decision."""
    service, journal, inputs = Service(raw, takes_stalled=False), tmp_path / "run.sqlite", inputs_of(2)
    await service.kill_while_stalled(journal, inputs, 2)
    items = await service.restart(journal, inputs)
    assert [type(item.error) for item in items] == [SubmissionUnknownError] * 2
    assert not raw.runs
    items = await service.restart(journal, inputs_of(3))  # the third one is the witness
    assert [item.error for item in items] == [None] * 3
    assert len(raw.runs) == 3


async def test_the_caller_may_accept_a_second_bill(raw: RawWiro, tmp_path: Path) -> None:
    """With `on_unknown="resubmit"`."""
    service, journal, inputs = Service(raw, takes_stalled=False), tmp_path / "run.sqlite", inputs_of(2)
    await service.kill_while_stalled(journal, inputs, 2)
    items = await service.restart(journal, inputs, on_unknown="resubmit")
    assert [item.error for item in items] == [None] * 2
    assert len(raw.runs) == 2
