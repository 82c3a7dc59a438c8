"""How many tasks may be in flight, as a table of events and the resulting limit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.lists(st.sampled_from(["take", "send", "accept", "end", "refuse", "slow", "give back"]), max_size=60))
def test_slots_and_tasks_are_counted(steps: list[str]) -> None:
    """Whatever happens, each slot and each task is counted once."""
    window, now = Window(TUNING), 0.0
    taken, sent, running, numbers = 0, 0, 0, list[int]()
    for step in steps:
        now += 1.0
        match step:
            case "take":
                window.take()
                taken += 1
            case "give back" if taken > running + sent:
                window.give_back()
                taken -= 1
            case "send" if taken > running + sent:
                numbers.append(window.send())
                sent += 1
            case "accept" if sent:
                window.accepted(now, 0.5)
                sent, running = sent - 1, running + 1
            case "refuse" | "slow" if sent:
                if step == "refuse":
                    window.refused(numbers[-1], None, now, 0.5)
                else:
                    window.slowed(numbers[-1], now, 0.5)
                sent, taken = sent - 1, taken - 1
            case "end" if running:
                window.ended(False, now, 0.5)
                running, taken = running - 1, taken - 1
        assert (window.used, window.running) == (taken, running)
        assert window.level >= 1.0
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_burst_is_refused_as_one_whatever_ends_between() -> None:
    """The refusals of runs that were sent before the first one say nothing new."""
    window = Window(TUNING)
    for _ in range(10):
        window.take()
        window.send()
        window.accepted(0.0, 1.0)
    numbers = []
    for _ in range(3):
        window.take()
        numbers.append(window.send())
    window.refused(numbers[0], None, 0.0, 1.0)
    level = window.level
    for _ in range(4):
        window.ended(False, 0.0, 1.0)
    window.refused(numbers[1], None, 0.0, 1.0)
    window.refused(numbers[2], None, 0.0, 1.0)
    assert window.level == level
    window.take()
    window.refused(window.send(), None, 0.0, 1.0)
    assert window.level < level


def test_growth_waits_for_ends_and_sharpens_after_a_success() -> None:
    """One more is tried after so many ends. Once that was accepted, the next one is tried sooner."""
    scenario = Scenario()
    window = scenario.play("start 10", "send 1", "refuse ?", "end 2")
    level, tries, ends = window.level, list[int](), 2
    for _ in range(2):
        while window.level == level:
            scenario.play("end 1")
            ends += 1
            if window.level == level:
                scenario.play("start 1")
        tries.append(ends)
        ends = 0
        scenario.play(f"start {int(window.level) - window.running}")
        level = window.level
    assert tries[0] == math.ceil(TUNING.window_growth * 8)
    assert tries[1] == max(1, math.ceil(TUNING.window_growth * 8 / TUNING.window_sharpen))


def test_nobody_who_waits_no_growth() -> None:
    """Ends count, and the level grows with the first of them that somebody waits for."""
    window = Scenario().play("start 4", "send 1", "refuse 4")
    for _ in range(4):
        window.ended(False, 0.0, 1.0)
        window.take()
        window.send()
        window.accepted(0.0, 1.0)
    assert window.level == 4.0
    window.ended(True, 10_000.0, 1.0)
    assert window.level == 5.0


def test_a_named_limit_is_kept_for_its_time() -> None:
    """Then the window may grow over it."""
    for waited, level in ((TUNING.window_ceiling - 0.001, 4.0), (TUNING.window_ceiling, 5.0)):
        scenario = Scenario()
        scenario.play("start 4", "send 1", "refuse 4", f"wait {waited}")
        window = scenario.play("end 2", "start 2", "end 2", "start 2", "end 2")
        assert window.level == level


def test_while_no_limit_is_known_each_probe_allows_half_as_many_more() -> None:
    """And each response half a run more."""
    window = Window(TUNING)
    for _ in range(3):
        window.probe()
    allowed = TUNING.window_opening * 1.5**3
    for _ in range(int(allowed)):
        assert window.has_room
        window.take()
    assert window.has_room is (allowed > int(allowed))
    window.take()
    assert not window.has_room
