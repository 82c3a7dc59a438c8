"""Make file names that are safe on every system, whatever the service or a model calls its outputs.

Names that Windows reserves: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import category, normalize

MAX_BYTES = 200  # of 255, so that a number fits as well
MAX_SUFFIX_BYTES = 20
FALLBACK = "output"
UNSAFE = re.compile(r'[<>:"/\\|?*]')
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9¹²³])")
HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # controls, text direction, halves of pairs, line ends


def safe_name(name: str, fallback: str = FALLBACK) -> str:
    """Return a name that stays in its directory, can be written, and shows what it is, on every system.

    Args:
        fallback: used if nothing usable is left.
    """
    name = "".join(map(_safe_character, normalize("NFC", name)))
    name = normalize("NFC", name).strip(" .") or fallback
    stem, suffix = split_name(name)
    data, room = stem.encode(), MAX_BYTES - len(suffix.encode())
    if len(data) > room:
        name = data[:room].decode(errors="ignore").rstrip(" .") + suffix
    return f"_{name}" if RESERVED.fullmatch(name.partition(".")[0].strip()) else name


def distinct_names(names: Iterable[str]) -> list[str]:
    """Return safe names that no file system mistakes for one another. The second of two equal ones gets a number."""
    safe = [safe_name(name) for name in names]
    taken = set(map(same_file_key, safe))
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    distinct: list[str] = []
    for name in safe:
        number = numbers.get(name, 1)
        candidate = name if number == 1 else numbered(name, number)
        while same_file_key(candidate) in seen or (number > 1 and same_file_key(candidate) in taken):
            number += 1
            candidate = numbered(name, number)
        numbers[name] = number
        seen.add(same_file_key(candidate))
        distinct.append(candidate)
    return distinct


def numbered(name: str, number: int) -> str:
    stem, suffix = split_name(name)
    return f"{stem}-{number}{suffix}"


def salted(name: str, salt: str) -> str:
    """Make the name safe, and put something unique before its suffix."""
    stem, suffix = split_name(safe_name(name, "file"))
    return f"{stem}-{salt}{suffix}"


def split_name(name: str) -> tuple[str, str]:
    """Return the stem and the suffix, "" for one that is too long to be a suffix."""
    stem, dot, ending = name.rpartition(".")
    if not stem.strip(" .") or len(ending.encode()) >= MAX_SUFFIX_BYTES:
        return name, ""
    return stem, dot + ending


def same_file_key(name: str) -> str:
    """Return a key that is equal for names which some file system takes for the same file."""
    return normalize("NFKC", normalize("NFD", name).casefold())


def _safe_character(character: str) -> str:
    kind = category(character)
    if kind in HIDDEN_CATEGORIES:
        return "" if kind == "Cf" else "_"
    return " " if kind == "Zs" else "_" if UNSAFE.match(character) else character
