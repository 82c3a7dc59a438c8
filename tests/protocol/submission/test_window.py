"""How many tasks may be in flight, as a table of events and the resulting limit."""

from __future__ import annotations

import pytest

from wiro_async import Tuning
from wiro_async._protocol.submission.window import OPEN, Window

TUNING = Tuning()


class Scenario:
    """A window and its clock. All randomness is at its upper end, so that every pause has its full length."""

    def __init__(self, most: int | None = None) -> None:
        self.window = Window(TUNING, most)
        self.now = 1000.0

    def play(self, *steps: str) -> Window:  # noqa: C901 - one case for each kind of step
        """Apply steps: "send 3", "start 3", "end 3", "refuse 20", "refuse ?", "slow", "probe", "wait 60"."""
        for step in steps:
            verb, _, amount = step.partition(" ")
            window, now = self.window, self.now
            match verb:
                case "send":
                    for _ in range(int(amount)):
                        window.take()
                        self.last = window.send()
                case "start":
                    for _ in range(int(amount)):
                        window.take()
                        window.send()
                        window.accepted(now, 1.0)
                case "accept":
                    window.accepted(now, 1.0)
                case "end":
                    for _ in range(int(amount)):
                        window.ended(True, now, 1.0)
                case "refuse":
                    window.refused(self.last, None if amount == "?" else int(amount), now, 1.0)
                case "slow":
                    window.slowed(self.last, now, 1.0)
                case "probe":
                    window.probe()
                case "wait":
                    self.now += float(amount)
        return self.window


@pytest.mark.parametrize(
    "most, steps, level, has_room",
    [
        pytest.param(None, [], OPEN, True, id="no limit is known"),
        pytest.param(None, ["send 4"], OPEN, False, id="four unanswered runs at first"),
        pytest.param(None, ["send 4", "accept", "accept"], OPEN, True, id="each response allows more"),
        pytest.param(None, ["send 4", "probe"], OPEN, True, id="a second without a response does, too"),
        pytest.param(None, ["start 1000"], OPEN, True, id="any number of tasks"),
        pytest.param(2, ["start 1"], 2, True, id="a given limit"),
        pytest.param(2, ["start 2"], 2, False, id="a given limit is reached"),
        pytest.param(2, ["start 2", "end 2", "start 2", "end 2"], 2, True, id="a given limit never grows"),
        pytest.param(None, ["start 8", "send 1", "refuse 8"], 8, False, id="all of the account's tasks are ours"),
        pytest.param(None, ["start 8", "send 1", "refuse 16"], 8, False, id="half of them: a share of less than one"),
        pytest.param(None, ["start 80", "send 1", "refuse 160"], 72, False, id="half of them: a tenth is given up"),
        pytest.param(None, ["start 80", "send 1", "refuse ?"], 64, False, id="an unnamed limit: a fifth"),
        pytest.param(None, ["send 1", "refuse 0"], 1, False, id="never less than one"),
        pytest.param(None, ["start 80", "send 9", "refuse ?", "refuse ?"], 64, False, id="a burst is refused as one"),
        pytest.param(None, ["start 8", "send 1", "refuse 8", "end 1"], 8, True, id="an end makes room"),
        pytest.param(None, ["start 8", "send 1", "refuse ?", "end 8"], 7, True, id="few ends: no growth yet"),
        pytest.param(
            None, ["start 8", "send 1", "refuse ?", "end 8", "start 7", "end 1"], 8, True, id="more: one slot"
        ),
        pytest.param(None, ["start 3", "send 1", "refuse 3", "end 3", "start 3", "end 3"], 3, True, id="the ceiling"),
        pytest.param(
            None, ["start 3", "send 1", "refuse 3", "wait 61", "end 3", "start 3", "end 3"], 4, True, id="it may be old"
        ),
        pytest.param(None, ["start 8", "send 1", "slow"], 6, False, id="429: a quarter"),
        pytest.param(None, ["start 8", "send 1", "slow", "end 3"], 9, True, id="429: one more with each end"),
        pytest.param(None, ["start 3", "send 1", "refuse 20", "probe"], 4, True, id="a probe"),
        pytest.param(None, ["start 3", "send 1", "refuse 20", "probe", "send 1", "refuse 20"], 3, False, id="in vain"),
        pytest.param(None, ["start 3", "send 1", "refuse 20", "probe", "send 1", "accept"], 4, False, id="a success"),
    ],
)
def test_the_limit_and_the_room(most: int | None, steps: list[str], level: float, has_room: bool) -> None:
    """The level, and whether one more run may be sent."""
    window = Scenario(most).play(*steps)
    assert (window.level, window.has_room) == (level, has_room)


FULL = ["start 3", "send 1", "refuse 20"]
ALONE = ["send 1", "refuse 20"]
PROBE = ["probe", "send 1", "refuse 20"]


@pytest.mark.parametrize(
    "most, steps, seconds",
    [
        pytest.param(None, [], TUNING.window_opening_wait, id="no limit is known"),
        pytest.param(None, FULL, 8.0, id="beside tasks of our own"),
        pytest.param(None, [*FULL, *PROBE], 16.0, id="beside them, after a probe in vain"),
        pytest.param(None, [*FULL, *PROBE, *PROBE, *PROBE], 30.0, id="beside them, seldom"),
        pytest.param(None, [*FULL, "probe", "send 1", "accept"], 1.0, id="after a success the next one comes soon"),
        pytest.param(None, ALONE, 1.0, id="with no task of our own"),
        pytest.param(None, [*ALONE, *PROBE], 2.0, id="with none, again"),
        pytest.param(None, [*ALONE, *PROBE, *PROBE, *PROBE], 3.0, id="with none, at the longest"),
        pytest.param(None, [*FULL, "send 1"], OPEN, id="a response is on its way"),
        pytest.param(None, ["start 3", "send 1", "refuse 3"], 60.0, id="not over the limit while it is fresh"),
        pytest.param(3, ["start 3"], OPEN, id="never over a given limit"),
    ],
)
def test_when_to_probe(most: int | None, steps: list[str], seconds: float) -> None:
    """Seconds until a run is sent without a sign of a free slot."""
    scenario = Scenario(most)
    window = scenario.play(*steps)
    assert window.next_probe(scenario.now) - scenario.now == seconds


@pytest.mark.parametrize("random, seconds", [(0.0, 4.0), (0.5, 6.0), (1.0, 8.0)])
def test_probes_of_many_sessions_spread(random: float, seconds: float) -> None:
    """A pause has half to all of its length."""
    window = Window(TUNING)
    window.take()
    window.send()
    window.accepted(100.0, random)
    window.take()
    window.refused(window.send(), 20, 100.0, random)
    assert window.next_probe(100.0) == 100.0 + seconds


def test_the_end_lets_all_through() -> None:
    """Whatever limit was known."""
    window = Scenario(1).play("start 1")
    window.open_wide()
    assert (window.level, window.has_room) == (OPEN, True)
