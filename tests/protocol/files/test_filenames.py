"""File names that are safe on every system, and distinct where case is ignored."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.files.filenames import (
    MAX_BYTES,
    RESERVED,
    distinct_names,
    numbered,
    safe_name,
    salted,
    same_file_key,
    split_name,
)

NASTY = st.one_of(
    st.text(max_size=300),
    st.text(
        alphabet=st.sampled_from('./\\:*?"<>|~ \x00\x07\n\r\u202e\u200b\ud800AaÅå\u0041\u030aéßİI中🦊'), max_size=120
    ),
    st.sampled_from(
        ["CON", "nul.txt", "com1.tar.gz", "Lpt¹", "aux .png", "CONIN$", "..", ".", "", "C:\\x", "//host/x"]
    ),
)


@pytest.mark.parametrize(
    "given, expected",
    [
        ("0.png", "0.png"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\Windows\\win.ini", "C__Windows_win.ini"),
        ("..\\up.txt", "_up.txt"),
        ("nul", "_nul"),
        ("NUL .txt", "_NUL .txt"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("lpt².png", "_lpt².png"),
        ("console.log", "console.log"),
        (".bashrc", "bashrc"),
        ("name. ", "name"),
        ("", "output"),
        ("...", "output"),
        ("line\nend\x00", "line_end_"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("half\ud800.png", "half_.png"),
        ("e\u0301.png", "é.png"),
        ("Ünïcødé 中文 🦊.webp", "Ünïcødé 中文 🦊.webp"),
    ],
)
def test_safe_names(given: str, expected: str) -> None:
    """Unsafe names are changed."""
    assert safe_name(given) == expected


@given(NASTY)
def test_every_name_is_safe_everywhere(name: str) -> None:
    """A safe name is one part of a path, short enough, and means nothing special to any system."""
    safe = safe_name(name)
    assert PurePosixPath(safe).parts == PureWindowsPath(safe).parts == (safe,)
    assert not PureWindowsPath(safe).drive
    assert 0 < len(safe.encode()) <= MAX_BYTES + 1
    assert not safe.startswith(".")
    assert safe == safe.strip(" ")
    assert not safe.endswith(".")
    assert safe.isprintable()
    assert not RESERVED.fullmatch(safe.partition(".")[0].strip())


@given(NASTY)
def test_a_safe_name_stays_as_it_is(name: str) -> None:
    """Making it safe twice changes nothing."""
    assert safe_name(safe_name(name)) == safe_name(name)


@given(st.lists(NASTY, max_size=12))
def test_distinct_names(names: list[str]) -> None:
    """No two names are equal on any system. Names without a clash stay unchanged."""
    distinct = distinct_names(names)
    assert len(distinct) == len(names)
    assert len(set(map(same_file_key, distinct))) == len(distinct)
    keys = [same_file_key(safe_name(name)) for name in names]
    for name, given_one, key in zip(distinct, names, keys, strict=True):
        assert keys.count(key) > 1 or name == safe_name(given_one)


@given(names=st.lists(NASTY, min_size=1, max_size=5))
def test_they_can_all_be_written(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """This system accepts them."""
    folder = tmp_path_factory.mktemp("names")
    for name in distinct_names(names):
        (folder / name).write_bytes(b"")
    assert len(list(folder.iterdir())) == len(names)


def test_clashing_names() -> None:
    """The first keeps its name, the others get free numbers."""
    assert distinct_names(["a.png", "A.PNG", "a-2.png", "a.png"]) == ["a.png", "A-3.PNG", "a-2.png", "a-4.png"]
    assert distinct_names(["straße", "STRASSE"]) == ["straße", "STRASSE-2"]
    assert distinct_names(["", ""]) == ["output", "output-2"]


def test_very_many_equal_names() -> None:
    """Numbers are found without searching from the start."""
    with patch("wiro_async._protocol.files.filenames.numbered", wraps=numbered) as made:
        assert distinct_names(["a.png"] * 3000)[-1] == "a-3000.png"
    assert made.call_count < 10_000


def test_long_names_keep_their_suffix() -> None:
    """The stem is cut in bytes, between characters."""
    name = safe_name("中" * 300 + ".png")
    assert name == "中" * ((MAX_BYTES - 4) // 3) + ".png"
    assert safe_name("x" * 300 + "." + "y" * 300) == "x" * MAX_BYTES


def test_suffixes() -> None:
    """The suffix follows the last dot, if it is short enough."""
    assert split_name("a.tar.gz") == ("a.tar", ".gz")
    assert split_name("no suffix") == ("no suffix", "")
    assert split_name("a." + "b" * 40) == ("a." + "b" * 40, "")
    assert numbered("fox.png", 2) == "fox-2.png"


def test_names_made_unique() -> None:
    """Uploads need unique names."""
    assert salted("photo.JPG", "1a2b") == "photo-1a2b.JPG"
    assert salted("../", "1a2b") == "_-1a2b"
    assert salted("", "1a2b") == "file-1a2b"
    assert Path(salted("x" * 400 + ".png", "1a2b")).suffix == ".png"
