"""The emulator's pictures: real PNGs, equal for equal requests, different for different prompts."""

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps, ImageStat

from wiro_async.testing._scenery import landscapes, painter, palettes, png

SCENES = [words.split()[0] for words in painter.SCENES.values()]
EFFECTS = ["mirror", "invert", "sepia", "poster", "blur", "edges"]


def opened(data: bytes) -> Image.Image:
    """Decode every pixel, so that a broken file raises."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def distance(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of a channel, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(first.convert("RGB"), second.convert("RGB"))).mean) / 3


def photo(kind: str = "PNG") -> bytes:
    """Return a small picture that every effect changes."""
    image = Image.new("RGB", (40, 30), (210, 60, 40))
    image.paste((20, 30, 90), (24, 14, 40, 30))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60), st.integers(16, 96), st.integers(16, 96), st.integers(0, 2**32))
def test_any_prompt_gives_a_png_of_the_requested_size(prompt: str, width: int, height: int, seed: int) -> None:
    """Every prompt gives a PNG of the right size."""
    image = opened(painter.paint(prompt, width, height, seed))
    assert (image.format, image.size, image.mode) == ("PNG", (width, height), "RGB")


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.randoms(use_true_random=False))
def test_encoding_loses_nothing(width: int, height: int, rng: random.Random) -> None:
    """Decoding returns the encoded pixels."""
    image = Image.frombytes("RGB", (width, height), rng.randbytes(3 * width * height))
    assert opened(png.encode(image)).tobytes() == image.tobytes()


@settings(deadline=None, max_examples=25)
@given(st.text(max_size=60), st.integers())
def test_the_same_request_gives_the_same_bytes(prompt: str, seed: int) -> None:
    """Painting is a pure function of prompt, size and seed."""
    assert painter.paint(prompt, 32, 48, seed) == painter.paint(prompt, 32, 48, seed)


@pytest.mark.parametrize("size", [(16, 16), (2048, 16), (16, 2048), (1280, 720), (2048, 2048)])
@pytest.mark.parametrize("prompt", ["A city by the sea", "jazz"])
def test_extreme_sizes(prompt: str, size: tuple[int, int]) -> None:
    """The smallest, largest and narrowest pictures work."""
    assert opened(painter.paint(prompt, *size, 7)).size == size


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("light", sorted(palettes.LIGHTS))
def test_every_scene_in_every_light(scene: str, light: str) -> None:
    """No pair of scene and light fails or gives an empty picture."""
    for seed in range(6):
        image = opened(painter.paint(f"{scene} {light}", 64, 64, seed))
        assert len(image.getcolors(64 * 64) or ()) > 20


def test_different_prompts_look_different() -> None:
    """Of forty prompts no two give similar pictures."""
    prompts = [f"{scene} number {i}" for i in range(4) for scene in [*SCENES, "idea"]]
    images = [opened(painter.paint(prompt, 64, 64, 1)) for prompt in prompts]
    closest = min(distance(a, b) for i, a in enumerate(images) for b in images[:i])
    assert closest > 2


def test_the_seed_moves_the_details() -> None:
    """Another seed gives another picture of the same scene."""
    first, second = (opened(painter.paint("mountains at dawn", 64, 64, seed)) for seed in (1, 2))
    assert distance(first, second) > 2


def test_keywords_choose_scene_and_light() -> None:
    """A night is darker than a snowy day, and plurals are keywords, too."""
    dark, bright = (opened(painter.paint(f"Forests, {light}", 64, 64, 1)) for light in ("at midnight", "in winter"))
    assert ImageStat.Stat(dark.convert("L")).mean[0] + 60 < ImageStat.Stat(bright.convert("L")).mean[0]
    assert painter.choose_scene("two cities", random.Random(1))[0] is landscapes.city


def test_pictures_are_small() -> None:
    """A picture of 512 by 512 has less than 200 kB."""
    assert max(len(painter.paint(scene, 512, 512, 1)) for scene in SCENES) < 200_000


@pytest.mark.parametrize("effect", EFFECTS)
def test_each_effect_changes_the_picture_and_keeps_its_size(effect: str) -> None:
    """Every effect gives another PNG of the same size."""
    original, result = opened(photo()), opened(painter.transform(photo(), effect))
    assert (result.format, result.size) == ("PNG", original.size)
    assert distance(original, result) > 1


def test_effects_differ_from_each_other() -> None:
    """Six effects give six pictures."""
    assert len({painter.transform(photo(), effect) for effect in EFFECTS}) == len(EFFECTS)


@pytest.mark.parametrize("effect", ["", "mirror", "no such effect"])
def test_unknown_effects_mirror(effect: str) -> None:
    """An unknown effect mirrors."""
    result = opened(painter.transform(photo(), effect))
    assert distance(result, ImageOps.mirror(opened(photo()))) == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_transform_reads_common_formats(kind: str) -> None:
    """The result is a PNG for every input format."""
    assert opened(painter.transform(photo(kind), "invert")).format == "PNG"


def test_transform_keeps_transparent_and_paletted_uploads_readable() -> None:
    """Modes other than RGB are converted."""
    for mode in ("RGBA", "P", "L", "1", "CMYK"):
        buffer = io.BytesIO()
        Image.new(mode, (20, 10)).save(buffer, "TIFF")
        assert opened(painter.transform(buffer.getvalue(), "sepia")).size == (20, 10)


def test_transform_refuses_other_data() -> None:
    """Other data raises Pillow's error, an OSError."""
    with pytest.raises(OSError, match="cannot identify"):
        painter.transform(b"not an image", "mirror")
