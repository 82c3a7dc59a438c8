"""Models like those of the real catalogue: their parameters, prices and short runs."""

from wiro_async.testing._catalogue.families.assets import ASSETS
from wiro_async.testing._catalogue.families.languages import LANGUAGES
from wiro_async.testing._catalogue.families.pictures import PICTURES
from wiro_async.testing._catalogue.families.sounds import SOUNDS
from wiro_async.testing._catalogue.families.videos import VIDEOS

FAMILIES = (*PICTURES, *VIDEOS, *SOUNDS, *LANGUAGES, *ASSETS)
