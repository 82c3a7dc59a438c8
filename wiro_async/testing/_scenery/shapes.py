"""Lines and outlines as lists of points."""

import functools
import itertools
import math
import random
from collections.abc import Iterable, Sequence

Point = tuple[float, float]


@functools.cache
def outline(text: str) -> tuple[Point, ...]:
    """Points written down as `x,y x,y`."""
    return tuple((float(x), float(y)) for x, _, y in (point.partition(",") for point in text.split()))


def rotated(points: Iterable[Point], angle: float) -> list[Point]:
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in points]


def ridge(rng: random.Random, level: float, height: float) -> list[Point]:
    """A jagged line from edge to edge by midpoint displacement."""
    heights, spread = [rng.uniform(-1, 1), rng.uniform(-1, 1)], 1.0
    for _ in range(6):
        middles = [(a + b) / 2 + rng.uniform(-spread, spread) for a, b in itertools.pairwise(heights)]
        heights = [value for pair in zip(heights, middles, strict=False) for value in pair] + heights[-1:]
        spread *= 0.55
    return [(i / 64, level - height * value * 0.5) for i, value in enumerate(heights)]


def swell(rng: random.Random, level: float, height: float, waves: float = 1.6) -> list[Point]:
    """A smooth line from edge to edge, a sum of two sines."""
    a, b = rng.uniform(0, math.tau), rng.uniform(0, math.tau)
    pace = waves * math.tau * rng.uniform(0.7, 1.2) / 40
    bends = [0.7 * math.sin(a + pace * i) + 0.3 * math.sin(b + 2.3 * pace * i) for i in range(41)]
    return [(i / 40, level - height * bend) for i, bend in enumerate(bends)]


def down(line: Sequence[Point]) -> list[Point]:
    """The area below a line that runs from edge to edge."""
    return [*line, (1.0, 1.01), (0.0, 1.01)]
