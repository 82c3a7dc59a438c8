"""Mountains, cities, seas, forests and deserts."""

import math

from wiro_async.testing._scenery.canvas import Canvas
from wiro_async.testing._scenery.palettes import WHITE, Colour, mix
from wiro_async.testing._scenery.shapes import Point, down, outline, ridge, swell
from wiro_async.testing._scenery.sky import birds, heavens, pines


def mountains(c: Canvas) -> None:
    horizon = c.rng.uniform(0.62, 0.72)
    heavens(c, horizon)
    for depth in (0.0, 0.22):
        peaks(c, horizon + depth * 0.25, depth, c.rng.randint(3, 5))
        c.mist(horizon - 0.13, horizon + depth * 0.25, c.palette.sky[-1], 0.45)
    if c.rng.random() < 0.45:
        c.reflect(horizon, c.shade(0.35))
    else:
        for depth in (0.45, 0.7):
            line = ridge(c.rng, horizon + 0.2 * depth, 0.12)
            c.shape(down(line), c.shade(depth))
    line = swell(c.rng, 0.93, 0.025)
    pines(c, line, 0.16, c.shade(1.0), 22)
    c.shape(down(line), c.shade(1.0))


def peaks(c: Canvas, base: float, depth: float, count: int) -> None:
    body, snow = c.shade(depth + 0.1), mix(c.palette.sky[-1], WHITE, 0.5)
    for i in sorted(range(count), key=lambda _: c.rng.random()):
        x = (i + c.rng.uniform(0.25, 0.75)) / count
        tall, wide = c.rng.uniform(0.26, 0.46) - depth * 0.5, c.rng.uniform(0.26, 0.38)
        top, fold = base - tall, x + c.rng.uniform(-0.06, 0.06)
        left, right = (x - wide, base + 0.01), (x + wide, base + 0.01)
        c.shape([left, (x, top), right], body)
        crease = [(x, top), (fold + 0.02, top + tall * 0.35), (fold - 0.02, top + tall * 0.6)]
        c.shape([*crease, (fold, base + 0.01), right], mix(body, c.palette.near, 0.28))
        if depth < 0.2:
            c.shape(snowcap(x, top, 0.3 * wide, tall), mix(snow, body, 0.12))


def snowcap(x: float, top: float, half: float, tall: float) -> list[Point]:
    zigzag = enumerate((0.22, 0.34, 0.24, 0.36, 0.26), 1)
    lower = [(x - half + half * k / 3, top + tall * fall) for k, fall in zigzag]
    return [*lower, (x + half, top + tall * 0.3), (x, top), (x - half, top + tall * 0.3)]


def city(c: Canvas) -> None:
    horizon = c.rng.uniform(0.74, 0.84)
    heavens(c, horizon)
    for depth, tall in ((0.08, 0.42), (0.38, 0.36)):
        skyline(c, horizon, tall, c.shade(depth), lit=False)
    c.mist(horizon - 0.22, horizon, c.palette.sky[-1], 0.4)
    skyline(c, horizon, 0.25, c.shade(0.85), lit=True)
    c.box(0, horizon, 1, 1, c.shade(0.85))
    if c.rng.random() < 0.75:
        c.reflect(horizon, c.shade(0.5), 0.4)


def skyline(c: Canvas, ground: float, tall: float, colour: Colour, lit: bool) -> None:
    rng, x, centre = c.rng, -0.03, c.rng.uniform(0.3, 0.7)
    while x < 1:
        wide = rng.uniform(0.045, 0.1)
        bulge = 0.45 + 0.75 * math.exp(-((x - centre) ** 2) * 9)
        top = ground - tall * bulge * rng.uniform(0.55, 1.15)
        c.box(x, top, x + wide, ground, colour)
        roof(c, x, top, wide, colour)
        if lit:
            windows(c, x, top, wide, ground, mix(colour, c.palette.accent, 0.9))
        x += wide * rng.uniform(0.85, 1.25)


def roof(c: Canvas, x: float, top: float, wide: float, colour: Colour) -> None:
    kind, middle = c.rng.random(), x + wide / 2
    if kind < 0.2:
        c.shape([(x, top), (middle, top - wide * 0.9), (x + wide, top)], colour)
    elif kind < 0.4:
        c.box(x + wide * 0.2, top - 0.025, x + wide * 0.8, top, colour)
        c.line([(middle, top - 0.1), (middle, top)], colour, 0.004)
    elif kind < 0.55:
        c.shape([(x, top), (x, top - wide * 0.5), (x + wide, top)], colour)
    elif kind < 0.65:
        c.oval(middle, top, wide / 2 * c.w / c.unit, wide / 2 * c.h / c.unit, colour)


def windows(c: Canvas, x: float, top: float, wide: float, ground: float, colour: Colour) -> None:
    columns = max(2, int(wide / 0.02))
    step, across = wide / (columns + 0.6), 0.5 * wide / (columns + 0.6) * c.w
    for row in range(int((ground - top) / 0.03)):
        y = (top + 0.014 + row * 0.03) * c.h
        for column in range(columns):
            if c.rng.random() < 0.36:
                left = (x + step * (column + 0.5)) * c.w
                c.draw.rectangle((left, y, left + across, y + 0.013 * c.h), fill=colour)


def sea(c: Canvas) -> None:
    rng, horizon = c.rng, c.rng.uniform(0.5, 0.62)
    sun, _ = heavens(c, horizon)
    if rng.random() < 0.6:
        shift = rng.uniform(-0.1, 0.6)
        island = [(0, horizon), *((x * 0.45, y) for x, y in ridge(rng, horizon - 0.02, 0.09)), (0.5, horizon)]
        c.shape([(x + shift, min(y, horizon)) for x, y in island], c.shade(0.3))
    deep, shallow = mix(c.palette.near, c.palette.sky[0], 0.45), mix(c.palette.sky[2], c.palette.far, 0.45)
    c.box(0, horizon, 1, 1, shallow)
    for i in range(1, 7):
        line = swell(rng, horizon + (1 - horizon) * (i / 7) ** 1.35, 0.002 + 0.004 * i, 2.5 + rng.random())
        c.shape(down(line), mix(shallow, deep, 0.15 + 0.85 * i / 6))
    for i in range(30):
        y = horizon + 0.008 + (0.97 - horizon) * (i / 30) ** 1.2
        half = (0.025 + 0.1 * i / 30) * rng.uniform(0.3, 1)
        c.line([(sun - half, y), (sun + half, y)], mix(c.palette.sun, deep, 0.1 + 0.55 * i / 30), 0.003)
    boat(c, rng.uniform(0.15, 0.85), horizon + rng.uniform(0.06, 0.16), rng.uniform(0.09, 0.16))
    birds(c, c.shade(0.8))


def boat(c: Canvas, x: float, y: float, size: float) -> None:
    white = mix(c.palette.sky[-1], WHITE, 0.6)
    c.figure(x, y, size, outline("-.5,0 .55,0 .38,.2 -.36,.2"), c.shade(1.0))
    c.figure(x, y, size, outline(".02,-.06 .02,-1.1 .5,-.06"), white)
    c.figure(x, y, size, outline("-.03,-.06 -.03,-.9 -.4,-.06"), mix(white, c.palette.far, 0.35))


def forest(c: Canvas) -> None:
    horizon = c.rng.uniform(0.5, 0.6)
    heavens(c, horizon)
    c.shape(down(ridge(c.rng, horizon - 0.08, 0.2)), c.shade(0.0))
    for i in range(4):
        depth = 0.15 + i * 0.28
        line = swell(c.rng, horizon + 0.04 + i * 0.135, 0.03)
        pines(c, line, 0.12 + 0.055 * i, c.shade(depth), 26 - i * 4)
        c.shape(down(line), c.shade(depth))
        if i < 3:
            c.mist(horizon + 0.05 + i * 0.135, horizon + 0.14 + i * 0.135, c.palette.sky[-1], 0.3)
    birds(c, c.shade(0.7))


def desert(c: Canvas) -> None:
    rng, horizon = c.rng, c.rng.uniform(0.52, 0.62)
    heavens(c, horizon)
    if rng.random() < 0.5:
        for x, size in ((rng.uniform(0.2, 0.4), 0.2), (rng.uniform(0.5, 0.8), 0.3)):
            c.figure(x, horizon + 0.03, size, outline("-.8,0 0,-.95 .8,0"), c.shade(0.15))
            c.figure(x, horizon + 0.03, size, outline(".2,0 0,-.95 .8,0"), c.shade(0.35))
    for i in range(4):
        dune(c, horizon + 0.03 + i * 0.12, i)
    if rng.random() < 0.6:
        cactus(c, rng.uniform(0.15, 0.85), 0.9, rng.uniform(0.2, 0.28))


def dune(c: Canvas, level: float, index: int) -> None:
    crest, rise = c.rng.uniform(0.25, 0.75), c.rng.uniform(0.05, 0.09)
    bumps = [math.exp(-(((k / 30 - crest) / 0.28) ** 2)) for k in range(31)]
    line = [(k / 30, level - rise * bump + 0.01 * math.sin(k / 4 + index)) for k, bump in enumerate(bumps)]
    c.shape(down(line), c.shade(0.08 + index * 0.2))
    lee = [point for point in line if point[0] >= crest]
    edge = [(1.0, 1.01), (crest - 0.18, 1.01), (crest + 0.1, level + 0.12)]
    c.shape([*lee, *edge], c.shade(0.2 + index * 0.22))


_CACTUS = ("0,.1 0,-1", "0,-.4 -.3,-.42 -.3,-.75", "0,-.28 .28,-.3 .28,-.62")


def cactus(c: Canvas, x: float, y: float, size: float) -> None:
    wide, tall = c.unit / c.w * size, c.unit / c.h * size
    for stem in map(outline, _CACTUS):
        points = [(x + px * wide, y + py * tall) for px, py in stem]
        c.line(points, c.shade(1.0), size * 0.15)
        c.disc(*points[-1], size * 0.073, c.shade(1.0))
