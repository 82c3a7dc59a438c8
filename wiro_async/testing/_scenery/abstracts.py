"""Compositions for prompts without a known keyword."""

import math

from wiro_async.testing._scenery.canvas import Canvas
from wiro_async.testing._scenery.palettes import WHITE, Colour, mix
from wiro_async.testing._scenery.shapes import Point, down, swell


def ribbons(c: Canvas) -> None:
    rng, colours = c.rng, c.colours
    pale = [mix(colour, WHITE, 0.15) for colour in (colours[-1], colours[-2])]
    c.backdrop(pale, (rng.random(), 0.1, 0.6, WHITE, 0.5))
    c.disc(rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.35), rng.uniform(0.08, 0.15), rng.choice(colours[:3]))
    bands, waves, phase = rng.randint(7, 10), rng.uniform(0.6, 1.3), rng.uniform(0, math.tau)
    for i in range(bands):
        level, swing, start = 0.3 + 0.75 * i / bands, 0.1 + 0.05 * math.sin(i), phase + i * 0.42
        turns = [start + waves * math.tau * k / 48 for k in range(49)]
        bends = [swing * math.sin(turn) + 0.04 * math.sin(i + k / 6) for k, turn in enumerate(turns)]
        line = [(k / 48, level + bend) for k, bend in enumerate(bends)]
        tone = i / (bands - 1) * (len(colours) - 1)
        low = min(int(tone), len(colours) - 2)
        c.shape(down(line), mix(colours[-1 - low], colours[-2 - low], tone - low))


def rings(c: Canvas) -> None:
    rng, colours = c.rng, c.colours
    ground = (mix(colours[0], (10, 10, 24), 0.25), colours[0])
    c.backdrop(ground, (rng.random(), rng.random(), 0.7, colours[1], 0.7))
    placed: list[tuple[float, float, float]] = []
    for _ in range(90):
        x, y, radius = rng.random(), rng.random(), rng.uniform(0.03, 0.24) * (1 - len(placed) / 50)
        if all(math.hypot(x - px, y - py) > radius + pr + 0.012 for px, py, pr in placed):
            placed.append((x, y, radius))
    for x, y, radius in placed:
        order = rng.sample(list(colours[1:]), len(colours) - 1)
        for step, colour in enumerate(order[: 2 + (radius > 0.08) + (radius > 0.13)]):
            c.disc(x, y, radius * (1 - 0.26 * step), colour)


def tiles(c: Canvas) -> None:
    rng, colours, count = c.rng, c.colours, c.rng.choice((4, 5, 6))
    side = c.unit / count
    c.backdrop(colours)
    for row in range(math.ceil(c.h / side)):
        for column in range(math.ceil(c.w / side)):
            ground, first, second = rng.sample(list(colours), 3)
            left, top = column * side, row * side
            c.draw.rectangle((left, top, left + side, top + side), fill=ground)
            tile(c, left, top, side, first, second)


def tile(c: Canvas, left: float, top: float, side: float, first: Colour, second: Colour) -> None:
    kind, turn = c.rng.randrange(5), c.rng.randrange(4)
    middle = (left + side / 2, top + side / 2)
    if kind < 2:
        corner = (left + side * (turn in (1, 2)), top + side * (turn in (2, 3)))
        c.draw.pieslice(around(corner, side), turn * 90, turn * 90 + 90, fill=first)
        c.draw.pieslice(around(corner, side * (0.5 + 0.12 * kind)), turn * 90, turn * 90 + 90, fill=second)
    elif kind == 2:
        c.draw.pieslice(around(middle, side / 2), turn * 90, turn * 90 + 180, fill=first)
        c.draw.pieslice(around(middle, side / 2), turn * 90 + 180, turn * 90 + 360, fill=second)
    elif kind == 3:
        c.draw.ellipse(around(middle, side * 0.42), fill=first)
        c.draw.ellipse(around(middle, side * 0.2), fill=second)
    else:
        corners = [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]
        c.draw.polygon([corner for k, corner in enumerate(corners) if k != turn], fill=first)


def around(middle: Point, radius: float) -> tuple[float, float, float, float]:
    x, y = middle
    return (x - radius, y - radius, x + radius, y + radius)


def rays(c: Canvas) -> None:
    rng, colours, count = c.rng, c.colours, c.rng.choice((14, 18, 22))
    x, y, turn = rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.6), rng.random()
    c.backdrop((colours[1], colours[2]))
    for k in range(count):
        edges = [turn + (k + side) * math.tau / count for side in (0, 0.5)]
        beam = [(0.0, 0.0), *((math.cos(edge), math.sin(edge)) for edge in edges)]
        c.figure(x, y, 3, beam, mix(colours[1], colours[2], 0.62))
    for step, colour in enumerate((colours[-1], colours[-2], mix(colours[-1], WHITE, 0.3))):
        c.disc(x, y, 0.24 - 0.06 * step, colour)
    for i in range(4):
        c.shape(down(swell(rng, 0.68 + 0.1 * i, 0.05, 1.2)), mix(colours[-2], colours[0], 0.25 + i / 4))
