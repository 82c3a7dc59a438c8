"""Pictures for the emulator's image models: small, quick, and worth looking at.

`paint` makes a scene of a prompt. Keywords select the scene and its light, the hash of the prompt selects palette and
composition, and the seed moves the details. `transform` applies an effect to an uploaded picture.
"""

import io
import random
import re
from collections.abc import Callable

from PIL import Image, ImageFilter, ImageOps

from wiro_async.testing._scenery.abstracts import rays, ribbons, rings, tiles
from wiro_async.testing._scenery.canvas import Canvas
from wiro_async.testing._scenery.landscapes import city, desert, forest, mountains, sea
from wiro_async.testing._scenery.palettes import LIGHTS
from wiro_async.testing._scenery.png import encode
from wiro_async.testing._scenery.subjects import creature, flowers, portrait, space

_Scene = Callable[[Canvas], None]

_ABSTRACT: tuple[_Scene, ...] = (ribbons, rings, tiles, rays)

SCENES: dict[_Scene, str] = {
    city: "city town street skyline building tower skyscraper urban downtown tokyo london paris istanbul",
    sea: "sea ocean beach wave island boat ship sail harbour harbor coast lighthouse bay river",
    mountains: "mountain peak alp hill valley lake canyon volcano glacier cliff",
    forest: "forest tree wood jungle pine park cabin garden meadow",
    desert: "desert dune sand pyramid cactus egypt sahara mars",
    space: "space planet galaxy star astronaut rocket cosmos nebula saturn spaceship universe orbit",
    flowers: "flower rose bouquet tulip sunflower blossom daisy orchid lily petal peony spring",
    portrait: "portrait woman man person girl boy face king queen model actor people human selfie",
    creature: "cat fox dog wolf kitten puppy animal owl",
}
_USUAL_LIGHTS: dict[_Scene, tuple[str, ...]] = {
    city: ("sunset", "night", "dawn", "neon"),
    sea: ("sunset", "day", "dawn", "night"),
    mountains: ("sunset", "dawn", "day", "night", "snow"),
    forest: ("dawn", "day", "sunset", "night"),
    desert: ("gold", "sunset", "night"),
    creature: ("night", "sunset", "dawn"),
}

_LIGHT_WORDS = {
    "sunset": "sunset dusk evening golden warm fire autumn orange",
    "dawn": "dawn sunrise morning pastel soft pink mist fog calm",
    "day": "day noon summer blue sunny clear green",
    "night": "night midnight moon moonlight dark starry",
    "snow": "snow winter ice frozen snowy arctic white",
    "storm": "storm rain rainy grey gray cloudy thunder stormy",
    "neon": "neon cyberpunk synthwave retro purple electric",
    "gold": "gold desert sepia vintage",
}


_SCENE_OF = {word: scene for scene, words in SCENES.items() for word in words.split()}
_LIGHT_OF = {word: light for light, words in _LIGHT_WORDS.items() for word in words.split()}


def _words(prompt: str) -> list[str]:
    """Return the words of the prompt, each also in the singular."""
    words = re.findall(r"[^\W_]+", prompt.casefold())
    return [form for word in words for form in (word, word.removesuffix("s"), word.removesuffix("ies") + "y")]


def choose_scene(prompt: str, taste: random.Random) -> tuple[_Scene, str]:
    """Return scene and light: from the first word that names one, else from the hash."""
    words = _words(prompt)
    scene = next((_SCENE_OF[word] for word in words if word in _SCENE_OF), None) or taste.choice(_ABSTRACT)
    usual = taste.choice(_USUAL_LIGHTS.get(scene, tuple(LIGHTS)))
    return scene, next((_LIGHT_OF[word] for word in words if word in _LIGHT_OF), usual)


def paint(prompt: str, width: int, height: int, seed: int) -> bytes:
    """Return a PNG of `width` x `height` pixels. Equal arguments give equal bytes."""
    text = prompt.encode("utf-8", "surrogatepass")
    taste = random.Random(b"taste|" + text)
    scene, light = choose_scene(prompt, taste)
    canvas = Canvas((width, height), light, taste, random.Random(b"%d|" % seed + text))
    scene(canvas)
    return encode(canvas.finish())


def _sepia(image: Image.Image) -> Image.Image:
    return ImageOps.colorize(ImageOps.grayscale(image), "#1f1108", "#fff3d9", "#a47b52")


_EFFECTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirror": ImageOps.mirror,
    "invert": ImageOps.invert,
    "sepia": _sepia,
    "poster": lambda image: ImageOps.posterize(image, 2),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(max(image.size) / 64 + 1)),
    "edges": lambda image: ImageOps.invert(image.convert("L").filter(ImageFilter.FIND_EDGES)),
}


def transform(data: bytes, effect: str) -> bytes:
    """Apply an effect to an image in any format that Pillow opens, and return a PNG. An unknown effect mirrors."""
    with Image.open(io.BytesIO(data)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    return encode(_EFFECTS.get(effect, ImageOps.mirror)(image).convert("RGB"))
