"""What the demo asks for: every subject in every mood, so that no two pictures are alike."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import attrs

SUBJECTS = (
    "a lighthouse on the coast",
    "portrait of an old sailor",
    "a city skyline",
    "dunes of the Sahara",
    "a planet with three moons",
    "a fox in the tall grass",
    "a mountain lake",
    "a bouquet of tulips",
    "a pine forest",
    "the quiet after a concert",
    "a harbour with fishing boats",
    "an astronaut far from home",
    "rooftops of Istanbul",
    "a sunflower by the road",
    "a volcano above the clouds",
    "a cat keeping watch",
    "portrait of a young queen",
    "a letter never sent",
    "a cabin between tall trees",
    "an island seen from the air",
)
MOODS = (
    "at dawn",
    "at sunset",
    "in neon light",
    "on a clear day",
    "under a full moon",
    "before a storm",
    "in deep winter",
    "in vintage colours",
    "in morning mist",
    "on a starry night",
)
SIZES = ((512, 512), (640, 480), (480, 640), (672, 420), (512, 512), (576, 432))
ONE = "a futuristic city at sunset, seen from the sea"
QUESTION = "Explain photography to me."


@attrs.frozen
class Wish:
    """One picture to be made.

    Attributes:
        seconds: how long the emulator is to take for it.
    """

    index: int
    prompt: str
    width: int
    height: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Width over height."""
        return self.width / self.height


def wishes(count: int) -> Iterator[Wish]:
    """Pictures to be made, the same every time."""
    chance = Random(count)
    for index in range(count):
        row, column = divmod(index, len(SUBJECTS))
        mood = MOODS[(row + 3 * column) % len(MOODS)]
        width, height = chance.choice(SIZES)
        yield Wish(index, f"{SUBJECTS[column]} {mood}", width, height, round(chance.uniform(2.0, 5.0), 2))
