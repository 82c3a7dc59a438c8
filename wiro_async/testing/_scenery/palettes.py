"""Colours: skies for each light, and sets of five for everything else."""

from typing import NamedTuple

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)


class Palette(NamedTuple):
    sky: tuple[Colour, ...]
    sun: Colour
    far: Colour
    near: Colour
    accent: Colour


def rgb(text: str) -> tuple[Colour, ...]:
    values = [bytes.fromhex(part) for part in text.split()]
    return tuple((value[0], value[1], value[2]) for value in values)


def _light(sky: str, sun: str, far: str, near: str, accent: str) -> Palette:
    return Palette(rgb(sky), *rgb(f"{sun} {far} {near} {accent}"))


LIGHTS: dict[str, tuple[Palette, ...]] = {
    "sunset": (
        _light("2b1a54 8e2d6b ee5d52 ffbe6e", "ffe6a0", "b8486a", "26102f", "ffd166"),
        _light("1e2157 623e8c f47c7c ffd6a5", "fff0c8", "9a5a98", "1c163c", "ffe1a8"),
        _light("10345a 2d748c f7b073 ffe2a0", "fff3c4", "6d8f96", "14283a", "ffcf70"),
        _light("3d1f3d 8c2f39 e8703a ffc857", "fff1b8", "b04a3a", "2a1420", "ffe08a"),
    ),
    "dawn": (
        _light("7896d2 beb4dc facdcd ffecd6", "fffae6", "b3a9cf", "3f4778", "fff4d6"),
        _light("6d9dc5 a9c9d9 f9d5bb fff1dc", "fffdf0", "a8b5c4", "2f4a63", "ffe9c9"),
        _light("a18cd1 d5b4e2 fbc2eb ffe3ec", "fff7fb", "c59bd0", "4e3a75", "ffe9f3"),
    ),
    "day": (
        _light("2e86de 70b8f0 bee2fa ecf8ff", "fffbe0", "8db9cf", "17535e", "fff3b0"),
        _light("26a69a 80cbbe dcf0e1 fafaeb", "fffbe0", "83bdb0", "12474a", "ffe08a"),
        _light("4a7fb5 8fb8d8 d8e6ea f7f1e1", "fff8dc", "9fb6a8", "2b4a34", "fde2a7"),
    ),
    "night": (
        _light("080a22 121842 263068 4e5490", "f8f4e3", "363d77", "070817", "ffd98a"),
        _light("041022 08303f 125a68 34907f", "f1fbea", "1c5a66", "03121c", "ffe29a"),
        _light("130a2e 2c1654 57307f 9a5aa0", "fdf0ff", "52307a", "0d061d", "ffcf8f"),
    ),
    "snow": (
        _light("8caacd b8cee4 deeaf4 f8fafc", "ffffff", "bccfe2", "4d6a8f", "fff2cf"),
        _light("6f86b5 a9b6dc e3d9ec fdf1ee", "fffdf6", "b5b9da", "474f80", "ffe7c2"),
    ),
    "storm": (
        _light("2c3646 4e5c70 808c9c b9c0c6", "e8ecef", "6f7c8d", "1b222c", "f2d28b"),
        _light("26323f 46606b 7f9a98 c8d1bf", "eef1e2", "66807f", "16232a", "f0dc9a"),
    ),
    "gold": (
        _light("5896be a0c4c8 f4d8aa fce8c4", "fff6dc", "e2a874", "7a3a2c", "ffe3a8"),
        _light("c8553d f28f3b ffd08a fff0cf", "fff8e4", "e39a54", "6a2b2b", "fff0cf"),
    ),
    "neon": (
        _light("140834 460e6e be1e8c ff6478", "ffd1f0", "6d1a86", "10061f", "35f2ff"),
        _light("06142e 0b3a6b 7a2bbf ff4fa3", "c9f7ff", "3a2f8f", "080b20", "ffe14d"),
    ),
}

SETS = tuple(
    rgb(line)
    for line in (
        "264653 2a9d8f e9c46a f4a261 e76f51",
        "0d1b2a 1b3a4b 3f6c84 9bb8c9 f0ead6",
        "5f0f40 9a031e fb8b24 e36414 0f4c5c",
        "f72585 7209b7 3a0ca3 4361ee 4cc9f0",
        "cdb4db ffc8dd ffafcc bde0fe a2d2ff",
        "003049 d62828 f77f00 fcbf49 eae2b7",
        "283618 606c38 fefae0 dda15e bc6c25",
        "2b2d42 8d99ae edf2f4 ef233c d90429",
        "355070 6d597a b56576 e56b6f eaac8b",
        "132a13 31572c 4f772d 90a955 ecf39e",
        "22223b 4a4e69 9a8c98 c9ada7 f2e9e4",
        "073b4c 118ab2 06d6a0 ffd166 ef476f",
    )
)


def mix(a: Colour, b: Colour, t: float) -> Colour:
    return (round(a[0] + (b[0] - a[0]) * t), round(a[1] + (b[1] - a[1]) * t), round(a[2] + (b[2] - a[2]) * t))
