"""The charts of a report, as coordinates that its template draws as SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import attrs

from wiro_async._api.batch_report.batch_history import Flow, Span, seconds_of

WIDTH = 1000.0
LEAST_HEIGHT, MOST_HEIGHT = 60.0, 420.0
ROW = 14.0
FLOW_HEIGHT = 160.0
BARS_HEIGHT = 180.0
NICE = (1.0, 2.0, 5.0, 10.0)


@attrs.frozen
class Timeline:
    """Paths of thick strokes, one path for each phase. Every item has a row."""

    shown: int  # how many items it shows
    height: float
    stroke: float  # how thick a row is
    queued: str
    running: str
    failed: str
    saving: str
    ticks: Sequence[tuple[float, str]]


@attrs.frozen
class FlowChart:
    """Tasks in flight over time."""

    path: str
    height: float
    peak: int
    lines: Sequence[tuple[float, str]]
    ticks: Sequence[tuple[float, str]]


@attrs.frozen
class Bar:
    """One bar of the histogram, with its texts."""

    x: float
    y: float
    width: float
    height: float
    label: str
    title: str


def timeline(spans: Sequence[Span], elapsed: float) -> Timeline | None:
    """Draw every item's way through queue, run and download. None if there is nothing to draw."""
    if not spans:
        return None
    spans = sorted(spans, key=lambda span: (span.submitted, span.index))
    end = max([elapsed, *(span.done for span in spans)]) or 1.0
    height = min(MOST_HEIGHT, max(LEAST_HEIGHT, len(spans) * ROW))
    row = height / len(spans)
    lanes: dict[str, list[str]] = {"queued": [], "running": [], "failed": [], "saving": []}
    for number, span in enumerate(spans):
        y = (number + 0.5) * row
        lanes["queued"].append(_stroke(span.submitted, span.running, y, end))
        lanes["running" if span.succeeded else "failed"].append(_stroke(span.running, span.ended, y, end))
        lanes["saving"].append(_stroke(span.ended, span.done, y, end))
    paths = {name: "".join(strokes) for name, strokes in lanes.items()}
    return Timeline(len(spans), height, max(0.75, row * 0.72), **paths, ticks=time_ticks(end))


def flow_chart(flow: Flow, elapsed: float) -> FlowChart | None:
    """Draw the tasks in flight over time. None if there is nothing to draw."""
    levels = flow.levels()
    peak = max(levels)
    if not peak:
        return None
    end = elapsed or 1.0
    used = min(len(levels), max(1, math.ceil(end / flow.width)))
    top = scale_top(peak)
    points = ["M0 0"]
    for number, level in enumerate(levels[:used]):
        left, right = number * flow.width, min(end, (number + 1) * flow.width)
        y = level / top * FLOW_HEIGHT
        points.append(f"L{left / end * WIDTH:.1f} {y:.1f}L{right / end * WIDTH:.1f} {y:.1f}")
    points.append(f"L{WIDTH:.0f} 0Z")
    lines = [(FLOW_HEIGHT * part, f"{top * part:g}") for part in (0.5, 1.0)]
    return FlowChart("".join(points), FLOW_HEIGHT, peak, lines, time_ticks(end))


def histogram(durations: Counter[int]) -> list[Bar]:
    """Draw how long the runs took, from their submission to their end."""
    if not durations:
        return []
    steps = range(min(durations), max(durations) + 1)
    width = min(WIDTH / len(steps), WIDTH / 8)
    most = max(durations.values())
    bars = []
    for number, step in enumerate(steps):
        height = durations[step] / most * BARS_HEIGHT
        label = short_time(seconds_of(step))
        title = f"{label} to {short_time(seconds_of(step + 1))}: {durations[step]}"
        bars.append(Bar(number * width, BARS_HEIGHT - height, width, height, label, title))
    return bars


def time_ticks(end: float) -> list[tuple[float, str]]:
    """Return some round times along an axis that ends at `end` seconds, with their places."""
    step = scale_top(end / 6)
    return [(number * step / end * WIDTH, short_time(number * step)) for number in range(int(end / step + 1e-9) + 1)]


def scale_top(value: float) -> float:
    """Return the next round number above."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(nice * power for nice in NICE if nice * power >= value * (1 - 1e-9))


def short_time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.3g} h"
    if seconds >= 60:
        return f"{seconds / 60:.3g} min"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    return f"{seconds:.2g} s" if seconds >= 1 or not seconds else f"{seconds * 1000:.0f} ms"


def _stroke(start: float, end: float, y: float, whole: float) -> str:
    if end <= start:
        return ""
    return f"M{start / whole * WIDTH:.1f} {y:.1f}h{max(0.5, (end - start) / whole * WIDTH):.1f}"
