"""The drawing surface of scenes, at twice the size of the picture unless the picture is large."""

import random
from collections.abc import Callable, Iterable, Sequence

from PIL import Image, ImageDraw, ImageOps

from wiro_async.testing._scenery.palettes import LIGHTS, SETS, Colour, mix
from wiro_async.testing._scenery.shapes import Point

SUPERSAMPLE_UP_TO = 1100 * 1100  # pixels; above it the edges are fine enough as they are


class Canvas:
    """A drawing surface in fractions: x and y run from 0 to 1, sizes are parts of the short side.

    A scene draws a backdrop first, then everything in front of it, farthest first.
    """

    image: Image.Image
    draw: ImageDraw.ImageDraw

    def __init__(self, size: tuple[int, int], light: str, taste: random.Random, rng: random.Random) -> None:
        width, height = self.size = size
        self.light = light
        self.palette = taste.choice(LIGHTS[light])
        self.colours = taste.choice(SETS)
        self.rng = rng
        self.scale = 2 if width * height <= SUPERSAMPLE_UP_TO else 1
        self.w = width * self.scale
        self.h = height * self.scale
        self.unit = min(self.w, self.h)

    def backdrop(self, stops: Sequence[Colour], *glows: tuple[float, float, float, Colour, float]) -> None:
        """Draw a vertical gradient with soft lights (x, y, radius, colour, strength) in it."""
        image = gradient(stops, *self.size)
        for x, y, radius, colour, strength in glows:
            glow(image, x, y, radius, colour, strength)
        self.image = image.resize((self.w, self.h), Image.Resampling.NEAREST)
        self.draw = ImageDraw.Draw(self.image)

    def at(self, points: Iterable[Point]) -> list[Point]:
        return [(x * self.w, y * self.h) for x, y in points]

    def shape(self, points: Iterable[Point], colour: Colour) -> None:
        self.draw.polygon(self.at(points), fill=colour)

    def figure(self, x: float, y: float, size: float, points: Iterable[Point], colour: Colour) -> None:
        """Draw a shape that keeps its proportions: points are in units of `size` around (x, y), the y axis down."""
        step = size * self.unit
        left, top = x * self.w, y * self.h
        self.draw.polygon([(left + px * step, top + py * step) for px, py in points], fill=colour)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        cx, cy, dx, dy = x * self.w, y * self.h, max(rx * self.unit, 0.5), max(ry * self.unit, 0.5)
        self.draw.ellipse((cx - dx, cy - dy, cx + dx, cy + dy), fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.oval(x, y, radius, radius, colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        x0, x1 = sorted((left * self.w, right * self.w))
        y0, y1 = sorted((top * self.h, bottom * self.h))
        self.draw.rectangle((x0, y0, x1, y1), fill=colour)

    def line(self, points: Iterable[Point], colour: Colour, width: float) -> None:
        self.draw.line(self.at(points), fill=colour, width=max(1, round(width * self.unit)), joint="curve")

    def mist(self, top: float, bottom: float, colour: Colour, strength: float) -> None:
        """Draw haze that thickens downwards between two heights."""
        y0, y1 = round(top * self.h), round(bottom * self.h)
        column = Image.linear_gradient("L").resize((1, y1 - y0)).point(_levels(lambda v: v * strength))
        mask = column.resize((self.w, y1 - y0), Image.Resampling.NEAREST)
        self.image.paste(colour, (0, y0, self.w, y1), mask)

    def reflect(self, horizon: float, water: Colour, depth: float = 0.45) -> None:
        """Turn everything below the horizon into water that mirrors what stands above it."""
        y, below = round(horizon * self.h), self.h - round(horizon * self.h)
        mirrored = ImageOps.flip(self.image.crop((0, y - below, self.w, y)))
        self.image.paste(Image.blend(mirrored, Image.new("RGB", mirrored.size, water), depth), (0, y))
        for _ in range(26):
            fall = self.rng.random() ** 1.4
            at = horizon + (1 - horizon) * fall
            x, half = self.rng.random(), 0.02 + 0.09 * fall
            colour = mix(water, self.palette.sky[-1], 0.45 * self.rng.random())
            self.box(x - half, at, x + half, at + 0.002, colour)

    def shade(self, depth: float) -> Colour:
        """Return the colour of a layer: 0 is the farthest, 1 the nearest."""
        return mix(self.palette.far, self.palette.near, depth)

    def finish(self) -> Image.Image:
        return self.image.reduce(self.scale) if self.scale > 1 else self.image


def _levels(curve: Callable[[int], float]) -> list[int]:
    """Return a lookup table for an image of 256 levels."""
    return [round(curve(value)) for value in range(256)]


def gradient(stops: Sequence[Colour], width: int, height: int) -> Image.Image:
    column = Image.new("RGB", (1, len(stops)))
    for y, stop in enumerate(stops):
        column.putpixel((0, y), stop)
    column = column.resize((1, height), Image.Resampling.BICUBIC)
    return column.resize((width, height), Image.Resampling.NEAREST)


def glow(image: Image.Image, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
    reach = max(2, round(radius * min(image.size)))
    table = _levels(lambda distance: max(0.0, 1 - distance / 180) ** 2 * 255 * strength)
    mask = Image.radial_gradient("L").point(table).resize((2 * reach, 2 * reach), Image.Resampling.NEAREST)
    image.paste(colour, (round(x * image.width) - reach, round(y * image.height) - reach), mask)
