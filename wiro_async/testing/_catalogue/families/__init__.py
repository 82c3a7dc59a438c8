"""Models after the families of the real catalogue: their parameters, their prices, and short runs."""

from wiro_async.testing._catalogue.families.assets import SHAPES
from wiro_async.testing._catalogue.families.languages import LANGUAGES
from wiro_async.testing._catalogue.families.pictures import PICTURES
from wiro_async.testing._catalogue.families.sounds import SOUNDS
from wiro_async.testing._catalogue.families.videos import VIDEOS

FAMILIES = (*PICTURES, *VIDEOS, *SOUNDS, *LANGUAGES, *SHAPES)
