"""The prompts of the demo: every subject in every mood, so that no two pictures are alike."""

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
class PictureSpec:
    """One picture to make."""

    index: int
    prompt: str
    width: int
    height: int
    seconds: float  # duration of the run on the emulator

    @property
    def ratio(self) -> float:
        """Width over height."""
        return self.width / self.height


def picture_specs(count: int) -> Iterator[PictureSpec]:
    """Yield pictures to make, the same ones every time."""
    rng = Random(count)
    for index in range(count):
        row, column = divmod(index, len(SUBJECTS))
        mood = MOODS[(row + 3 * column) % len(MOODS)]
        width, height = rng.choice(SIZES)
        yield PictureSpec(index, f"{SUBJECTS[column]} {mood}", width, height, round(rng.uniform(2.0, 5.0), 2))
