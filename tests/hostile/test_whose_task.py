"""A lost run is never given the task of another one, however much that one looks like it."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from wiro_async import AsyncWiro, SubmissionUnknownError, TaskResult, Timeouts, Tuning

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

MODEL, GIVEN = "owner/model", {"prompt": "a cat"}
TUNING = Tuning(search_grace=0.3, search_pause=0.05, search_max_pause=0.1, poll_first=0.05, poll_silence=0.1)
HOUR = 3600.0


@attrs.define(eq=False)
class Service:
    """A service whose clock is off, whose lists hold an equal old task, and which loses runs.

    Attributes:
        ahead: seconds by which its clock is ahead.
        shows_date: whether its responses have a `Date` header.
        age: of the old task, in seconds.
        takes_run: whether the run that is lost has arrived.
    """

    raw: RawWiro
    ahead: float = 0.0
    shows_date: bool = True
    age: float = 600.0
    takes_run: bool = False

    def now(self) -> float:
        return time.time() + self.ahead

    def date(self) -> list[str]:
        return [f"Date: {formatdate(self.now(), usegmt=True)}"] if self.shows_date else []

    def make_old(self, **fields: Any) -> None:
        """An equal task was made before: by this program, or by another one."""
        self.raw.make_task(MODEL, GIVEN, createtime=str(int(self.now() - self.age)), **fields)

    async def lose(self, peer: Peer) -> None:
        """Reset the connection of a run."""
        if self.takes_run:
            self.raw.take_run(MODEL, peer.sent)
            newest = list(self.raw.rows)[-1]
            self.raw.rows[newest]["createtime"] = str(int(self.now()))
        peer.reset()

    async def list(self, peer: Peer) -> None:
        """List the tasks, the newest first."""
        rows = list(reversed(self.raw.rows.values()))[int(peer.sent["start"]) :]
        await peer.respond_json({"result": True, "errors": [], "tasklist": rows}, *self.date())

    async def detail(self, peer: Peer) -> None:
        """Read a task."""
        asked = {peer.sent.get("taskid"), peer.sent.get("tasktoken")}
        rows = [row for row in self.raw.rows.values() if asked & {row["id"], row["socketaccesstoken"]}]
        await peer.respond_json({"result": True, "errors": [], "tasklist": rows}, *self.date())

    async def lost_run(self, runs_before: int = 0) -> TaskResult:
        """Lose a run, after some that were not lost."""
        self.raw.routes |= {"Task/List": self.list, "Task/Detail": self.detail}
        async with AsyncWiro(**self.raw.options(), tuning=TUNING, timeout=Timeouts(request=0.3)) as wiro:
            for number in range(runs_before):
                await wiro.run(MODEL, {"prompt": f"a dog {number}"})
            self.raw.routes["Run"] = self.lose
            return await wiro.run(MODEL, GIVEN)


@pytest.mark.parametrize("runs_before", [0, 2])
@pytest.mark.parametrize("ahead", [0.0, HOUR, -HOUR, 7 * HOUR])
@pytest.mark.parametrize("shows_date", [True, False])
async def test_an_old_equal_task_is_not_taken(raw: RawWiro, runs_before: int, ahead: float, shows_date: bool) -> None:
    """The run never arrived. An equal task is ten minutes old, whatever the clocks say."""
    service = Service(raw, ahead, shows_date)
    service.make_old()
    with pytest.raises(SubmissionUnknownError):
        await service.lost_run(runs_before)
    assert len(raw.runs) == runs_before


@pytest.mark.parametrize("ahead", [0.0, HOUR, -HOUR])
@pytest.mark.parametrize("runs_before, shows_date", [(0, True), (2, True), (2, False)])
async def test_the_new_task_is_taken(raw: RawWiro, runs_before: int, ahead: float, shows_date: bool) -> None:
    """The run arrived and its response was lost: its task is found beside the old one, by ids or by the clock."""
    service = Service(raw, ahead, shows_date, takes_run=True)
    service.make_old()
    result = await service.lost_run(runs_before)
    assert result.info.id == list(raw.rows)[-1]
    assert len(raw.runs) == runs_before + 1


async def test_time_alone_takes_nothing(raw: RawWiro) -> None:
    """No id was seen before, and nothing shows the service's clock: the caller decides."""
    service = Service(raw, shows_date=False, takes_run=True)
    with pytest.raises(SubmissionUnknownError) as caught:
        await service.lost_run()
    assert [task.id for task in caught.value.candidates] == list(raw.rows)
    assert len(raw.runs) == 1


@pytest.mark.parametrize("made", [{}, {"id": "9999"}], ids=["a larger id", "the largest id"])
async def test_a_task_made_by_others_meanwhile(raw: RawWiro, made: dict[str, Any]) -> None:
    """The session saw its last id long ago. An equal task that others have made since then is not its run."""
    service = Service(raw)
    raw.routes["Task/List"] = service.list

    async def lose(peer: Peer) -> None:
        service.make_old(**made)
        peer.reset()

    async with AsyncWiro(**raw.options(), tuning=TUNING, timeout=Timeouts(request=0.3)) as wiro:
        for number in range(2):
            await wiro.run(MODEL, {"prompt": f"a dog {number}"})
        raw.routes["Run"] = lose
        with pytest.raises(SubmissionUnknownError):
            await wiro.run(MODEL, GIVEN)


@pytest.mark.parametrize("shows_date", [True, False])
async def test_ids_that_do_not_run_upward(raw: RawWiro, shows_date: bool) -> None:
    """The session's own tasks show that ids say nothing. Then only the service's clock counts."""
    service = Service(raw, shows_date=shows_date, takes_run=True)
    raw.ids = iter(["500", "400", "300"])
    if shows_date:
        assert (await service.lost_run(2)).info.id == "300"
    else:
        with pytest.raises(SubmissionUnknownError) as caught:
            await service.lost_run(2)
        assert [task.id for task in caught.value.candidates] == ["300"]
    assert len(raw.runs) == 3
