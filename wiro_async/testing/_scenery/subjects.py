"""Planets, flowers, people and animals."""

import math
from functools import partial

from wiro_async.testing._scenery.canvas import Canvas
from wiro_async.testing._scenery.palettes import WHITE, Colour, mix, rgb
from wiro_async.testing._scenery.shapes import Point, down, outline, rotated, swell
from wiro_async.testing._scenery.sky import pines, stars


def space(c: Canvas) -> None:
    rng, colours = c.rng, c.colours
    x, y, radius = rng.uniform(0.32, 0.68), rng.uniform(0.4, 0.64), rng.uniform(0.19, 0.27)
    glows = [(rng.random(), rng.random(), rng.uniform(0.4, 0.65), rng.choice(colours), 0.5) for _ in range(3)]
    c.backdrop(rgb("05060f 0b0d24 15123a 0a0a1c"), *glows, (x, y, radius * 1.75, colours[-2], 0.55))
    stars(c, 130, 1.0)
    tilt, ringed = rng.uniform(-0.45, 0.45), rng.random() < 0.65
    main, dark = (mix(colour, WHITE, 0.18) for colour in rng.sample(sorted(colours, key=sum)[1:], 2))
    if ringed:
        ring(c, x, y, radius, tilt, math.pi, mix(colours[-1], main, 0.3))
    planet(c, x, y, radius, main, dark, tilt)
    if ringed:
        ring(c, x, y, radius, tilt, 0, mix(colours[-1], WHITE, 0.2))
    moon_x, moon_y = (x + 0.34) % 1, rng.uniform(0.12, 0.28)
    planet(c, moon_x, moon_y, rng.uniform(0.035, 0.06), mix(dark, WHITE, 0.55), dark, 0)


def planet(c: Canvas, x: float, y: float, radius: float, main: Colour, other: Colour, tilt: float) -> None:
    c.disc(x, y, radius, main)
    for _ in range(5 if radius > 0.1 else 0):
        level, thick = c.rng.uniform(-0.85, 0.75), c.rng.uniform(0.05, 0.16)
        a, b = math.asin(level), math.asin(min(0.99, level + thick))
        arc = [math.pi - a, math.pi - b, b, a]
        band = [(math.cos(t + tilt), math.sin(t + tilt)) for t in arc]
        c.figure(x, y, radius, band, mix(main, other, c.rng.uniform(0.15, 0.5)))
    for bulge, depth in ((0.62, 0.3), (0.84, 0.55)):
        c.figure(x, y, radius * 1.005, crescent(0.5, bulge), mix(main, (6, 6, 20), depth))


def crescent(angle: float, bulge: float) -> list[Point]:
    """The dark side of a ball lit from the other side, its inner edge an ellipse."""
    turns = [math.pi * (k / 24 - 0.5) for k in range(25)]
    edge = [(r * math.cos(t), math.sin(t)) for r, run in ((1.0, turns), (bulge, turns[::-1])) for t in run]
    return rotated(edge, angle)


def ring(c: Canvas, x: float, y: float, radius: float, tilt: float, start: float, colour: Colour) -> None:
    for inner, outer, tone in ((1.35, 1.6, 0.0), (1.66, 1.85, 0.35)):
        angles = [start + math.pi * k / 30 for k in range(31)]
        edges = ((inner, angles), (outer, angles[::-1]))
        band = [(r * math.cos(t), 0.26 * r * math.sin(t)) for r, run in edges for t in run]
        c.figure(x, y, radius, rotated(band, tilt), mix(colour, c.palette.sky[0], tone))


def flowers(c: Canvas) -> None:
    rng, colours = c.rng, c.colours
    pale = [mix(colour, (255, 250, 240), 0.72) for colour in colours[:3]]
    c.backdrop(pale, (rng.random(), 0.3, 0.7, (255, 255, 250), 0.8))
    for i in range(3):
        c.shape(down(swell(rng, 0.72 + 0.1 * i, 0.04)), mix((92, 142, 96), (30, 74, 60), i / 2))
    for i in range(rng.choice((3, 5, 7))):
        x, y, size = (0.14 + 0.72 * ((i * 0.382 + 0.1) % 1)), rng.uniform(0.22, 0.62), rng.uniform(0.1, 0.19)
        sway = rng.uniform(-0.06, 0.06)
        stem = [(x + sway * (1 - (1 - k / 8) ** 2), y + (1.02 - y) * k / 8) for k in range(9)]
        c.line(stem, (46, 104, 72), 0.011)
        for side in (-1, 1):
            c.figure(*stem[5], 0.13, petal(0.4 - side * 1.1 - math.pi / 2 + 0.2, 0.2), (66, 128, 84))
        blossom(c, x, y, size, rng.choice(colours), rng.choice((6, 8, 11)))


def blossom(c: Canvas, x: float, y: float, size: float, colour: Colour, petals: int) -> None:
    turn = c.rng.random()
    for scale, tone, offset in ((1.0, 0.0, 0.0), (0.68, 0.38, 0.5)):
        for k in range(petals):
            angle = turn + (k + offset) * math.tau / petals
            tint = mix(colour, (255, 245, 235), tone + 0.1 * (k % 2))
            c.figure(x, y, size * scale, petal(angle, 1.9 / petals), tint)
    c.disc(x, y, size * 0.25, (232, 170, 58))
    c.disc(x, y, size * 0.15, (146, 86, 40))


def petal(angle: float, wide: float) -> list[Point]:
    side = [(t / 8, wide * math.sin(math.pi * (t / 8) ** 1.4)) for t in range(9)]
    return rotated([*side, *((px, -py) for px, py in reversed(side))], angle)


def portrait(c: Canvas) -> None:
    rng, colours = c.rng, c.colours
    back, coat, hair, halo = rng.sample(list(colours), 4)
    skin = rng.choice(rgb("f2c9a6 d9a077 a86f4a 74482f f6d9c2"))
    c.backdrop((mix(back, WHITE, 0.35), back), (0.5, 0.4, 0.7, WHITE, 0.35))
    c.disc(0.5, 0.42, 0.36, mix(halo, WHITE, 0.25))
    draw, long = partial(c.figure, 0.5, 0.4, 0.2), rng.random() < 0.55
    draw(blob(1.0, 1.25 if long else 1.1, -0.12), hair)
    if long:
        draw(outline("-1,-.1 1,-.1 1.12,1.9 -1.12,1.9"), hair)
    c.oval(0.5, 1.02, 0.36, 0.32, coat)
    face, shadow = blob(0.76, 1.0, 0.08), (60, 20, 20)
    draw(outline("-.32,.6 .32,.6 .36,1.6 0,1.95 -.36,1.6"), mix(skin, shadow, 0.18))
    draw(face, skin)
    draw([*(point for point in face if point[0] >= 0), (0.1, 0.5), (0.16, 0.1)], mix(skin, shadow, 0.12))
    draw([*outline("-.86,.15 -.92,-.7 0,-1.25 .92,-.7 .86,.15"), (rng.uniform(-0.5, 0.5), -0.62)], hair)
    for collar in ("0,2.05 -.42,1.55 -.6,1.95 -.2,2.5", "0,2.05 .42,1.55 .6,1.95 .2,2.5"):
        draw(outline(collar), mix(coat, WHITE, 0.35))


def blob(rx: float, ry: float, cy: float) -> list[Point]:
    return [(rx * math.sin(math.tau * k / 36), cy - ry * math.cos(math.tau * k / 36)) for k in range(37)]


_CREATURE = (
    "-.62,1 -.66,.4 -.4,-.2 -.05,-.7 .3,-.8 .42,-.2 .46,1",
    "-.5,.9 -1.02,.62 -1.3,.12 -1.22,-.38 -1.06,-.5 -1.02,-.36 -1.08,.05 -.88,.34 -.5,.42",
    "-.3,-1 -.28,-1.72 .06,-1.4 .34,-1.4 .66,-1.72 .68,-1",
)
_SNOUTS = (".55,-1.12 .92,-.88 .5,-.68", ".5,-1 .6,-.9 .5,-.8")


def creature(c: Canvas) -> None:
    rng = c.rng
    x, y, radius = rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.48), rng.uniform(0.26, 0.31)
    c.backdrop(c.palette.sky, (x, y, radius * 2.3, c.palette.sun, 0.9))
    if c.light in ("night", "neon"):
        stars(c, 60, 0.8)
    c.disc(x, y, radius, c.palette.sun)
    c.shape(down(swell(rng, 0.74, 0.03)), c.shade(0.35))
    line = swell(rng, 0.86, 0.02)
    pines(c, [line[k] for k in (1, 2, 3, 5, 35, 37, 38, 39)], 0.2, c.shade(0.8), 12)
    c.shape(down(line), c.shade(1.0))
    face, size, colour = rng.choice((-1, 1)), 0.17, c.shade(1.0)
    head = [(0.19 + px, py) for px, py in blob(0.46, 0.4, -1.02)]
    for part in (head, *map(outline, (*_CREATURE, rng.choice(_SNOUTS)))):
        c.figure(x, 0.74, size, [(face * px, py) for px, py in part], colour)
