"""Skies of landscapes, and the trees below them."""

import math
from collections.abc import Sequence

from wiro_async.testing._scenery.canvas import Canvas
from wiro_async.testing._scenery.palettes import WHITE, Colour, mix
from wiro_async.testing._scenery.shapes import Point, outline


def stars(c: Canvas, count: int, floor: float) -> None:
    for _ in range(count):
        x, y, size = c.rng.random(), c.rng.random() * floor, c.rng.random() ** 3
        c.disc(x, y, 0.0015 + 0.003 * size, mix(c.palette.sky[1], WHITE, 0.35 + 0.6 * size))


def heavens(c: Canvas, horizon: float) -> Point:
    """Draw the sky with its sun or moon, and return the position of that."""
    rng, palette, light = c.rng, c.palette, c.light
    dark = light in ("night", "neon")
    x = rng.uniform(0.2, 0.8)
    y = rng.uniform(0.14, 0.3) if dark or light in ("day", "snow") else horizon * rng.uniform(0.62, 0.9)
    c.backdrop(palette.sky, (x, y, 0.55, palette.sun, 0.75 if dark else 0.9))
    if dark:
        stars(c, 70, horizon)
    if light != "storm":
        c.disc(x, y, radius := rng.uniform(0.06, 0.085) if dark else rng.uniform(0.075, 0.13), palette.sun)
        if light == "night":
            craters(c, x, y, radius)
    if light in ("day", "snow", "gold", "storm", "dawn"):
        clouds(c, horizon, rng.randint(2, 4))
    return x, y


def craters(c: Canvas, x: float, y: float, radius: float) -> None:
    colour = mix(c.palette.sun, c.palette.sky[2], 0.22)
    for dx, dy, size in ((-0.3, -0.2, 0.22), (0.25, 0.3, 0.16), (0.3, -0.35, 0.11)):
        c.disc(x + dx * radius * c.unit / c.w, y + dy * radius * c.unit / c.h, size * radius, colour)


def clouds(c: Canvas, horizon: float, count: int) -> None:
    for _ in range(count):
        x, y, size = c.rng.random(), c.rng.uniform(0.08, 0.6) * horizon, c.rng.uniform(0.04, 0.07)
        colour = mix(c.palette.sky[-1], c.palette.sky[1], 0.15 + 0.35 * y / horizon)
        for offset, radius in ((-1.5, 0.5), (-0.7, 0.85), (0.2, 1.1), (1.1, 0.75), (1.8, 0.45)):
            c.figure(x, y, size, half_disc(offset, radius), colour)


def half_disc(x: float, radius: float) -> list[Point]:
    turns = [math.pi * i / 12 for i in range(13)]
    return [(x - radius * math.cos(turn), -radius * math.sin(turn)) for turn in turns]


_WINGS = "-1,-.5 -.4,-.6 0,0 .4,-.6 1,-.5"


def birds(c: Canvas, colour: Colour) -> None:
    x, y = c.rng.uniform(0.15, 0.75), c.rng.uniform(0.15, 0.32)
    for _ in range(c.rng.randint(3, 6)):
        at_x, at_y = x + c.rng.uniform(-0.1, 0.1), y + c.rng.uniform(-0.06, 0.06)
        span = c.rng.uniform(0.008, 0.016)
        c.line([(at_x + px * span, at_y + py * span) for px, py in outline(_WINGS)], colour, 0.003)


_PINE = (
    "-.05,.15 -.05,0 -.3,0 -.1,-.36 -.21,-.34 -.06,-.68 -.13,-.66 "
    "0,-1 .13,-.66 .06,-.68 .21,-.34 .1,-.36 .3,0 .05,0 .05,.15"
)


def pines(c: Canvas, line: Sequence[Point], size: float, colour: Colour, count: int) -> None:
    """Trees at random places along a line."""
    for _ in range(count):
        x, y = line[c.rng.randrange(len(line))]
        height = size * c.rng.uniform(0.6, 1.2)
        c.figure(x + c.rng.uniform(-0.015, 0.015), y + 0.01, height, outline(_PINE), colour)
