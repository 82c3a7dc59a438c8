"""Models after the families of the real catalogue: their parameters, their prices, and short runs."""

from .languages import LANGUAGES
from .pictures import PICTURES
from .shapes import SHAPES
from .sounds import SOUNDS
from .videos import VIDEOS

FAMILIES = (*PICTURES, *VIDEOS, *SOUNDS, *LANGUAGES, *SHAPES)
