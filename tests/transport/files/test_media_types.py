"""Media types are the same on every machine."""

from __future__ import annotations

import mimetypes

import pytest

from wiro_async import File
from wiro_async._transport.files.media_types import SUFFIXES, TYPES, content_type_of, suffix_of_type

# The types that the service takes by its documentation.
TAKEN = "jpg png gif webp heic mp4 webm mov mp3 wav m4a pdf csv docx xlsx pptx txt md epub zip".split()


@pytest.fixture(autouse=True)
def odd_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lists of this system say something else."""
    for suffix in TYPES:
        monkeypatch.setitem(mimetypes.types_map, suffix, "application/x-odd")
    mimetypes.add_type("application/x-odd", ".unheard")


@pytest.mark.parametrize("suffix", TAKEN)
def test_what_the_service_takes_is_known(suffix: str) -> None:
    """Both ways, in any letters."""
    kind = content_type_of(File(b"", f"a.{suffix.upper()}"))
    assert kind not in ("application/octet-stream", "application/x-odd")
    assert suffix_of_type(f"{kind}; charset=utf-8") == f".{suffix}"


def test_a_given_type_wins_and_others_are_bytes() -> None:
    """Without a guess."""
    assert content_type_of(File(b"", "a.png", "image/jpeg")) == "image/jpeg"
    assert content_type_of(File(b"", "a.unheard")) == "application/octet-stream"
    assert suffix_of_type("application/x-odd") == ""


def test_suffixes_give_their_types() -> None:
    """Apart from the other names of a type."""
    assert all(TYPES[SUFFIXES[kind]] == kind for kind in TYPES.values())
