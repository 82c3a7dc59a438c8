"""Values that people give and that JSON cannot hold: the error names the parameter and what to give instead."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy
import pydantic
import pytest
from PIL import Image

from wiro_async import AsyncWiro, File, InvalidInputError

if TYPE_CHECKING:
    from tests.hostile.conftest import RawWiro


@dataclasses.dataclass
class Plain:
    """A dataclass."""

    size: int = 1


@attrs.define
class Defined:
    """An attrs class."""

    size: int = 1


class Model(pydantic.BaseModel):
    """A model of pydantic."""

    size: int = 1


class Size(enum.Enum):
    """A choice."""

    LARGE = "large"


VALUES: dict[str, tuple[Any, str]] = {
    "a Pillow image": (Image.new("RGB", (2, 2)), "File(buffer.getvalue(), 'image.png')"),
    "an array": (numpy.zeros((2, 2)), "value.tolist() for an array; or encode it"),
    "a scalar of numpy": (numpy.float32(1.5), "value.item() for a scalar"),
    "bytes": (b"x", "File(data, name='photo.png')"),
    "a bytearray": (bytearray(b"x"), "File(data, name='photo.png')"),
    "a memoryview": (memoryview(b"x"), "File(data, name='photo.png')"),
    "bytes in a list": ([b"x"], "File(data, name='photo.png')"),
    "an image in a mapping": ({"a": Image.new("RGB", (2, 2))}, "given['a']"),
    "a set": ({1, 2}, "list(value)"),
    "a generator": ((number for number in (1, 2)), "list(value)"),
    "keys": ({"a": 1}.keys(), "list(value)"),
    "a date": (datetime.date(2026, 1, 1), "value.isoformat()"),
    "a duration": (datetime.timedelta(1), "value.total_seconds()"),
    "a dataclass": (Plain(), "dataclasses.asdict(value)"),
    "an attrs object": (Defined(), "attrs.asdict(value)"),
    "a pydantic model": (Model(), "value.model_dump(mode='json')"),
    "an Enum": (Size.LARGE, "value.value"),
    "a UUID": (uuid.UUID(int=1), "str(value)"),
    "a class": (Model, "give an object of it"),
    "a function": (io.open, "give text, a number"),
    "a key that is a number": ({1: 2}, "the key 1, a int"),
    "a key that is a tuple": ({(1, 2): 3}, "the key that is a tuple"),
    "a key of very many digits": ({10**5000: 1}, "give str(key)"),
    "a number of very many digits": (10**5000, "over 4300 digits"),
}


@pytest.mark.parametrize("value, remedy", VALUES.values(), ids=VALUES)
async def test_the_error_says_what_to_give(raw: RawWiro, raw_wiro: AsyncWiro, value: Any, remedy: str) -> None:
    """Nothing was sent."""
    with pytest.raises(InvalidInputError) as caught:
        await raw_wiro.run("owner/model", {"given": value})
    assert str(caught.value).startswith("given")
    assert remedy in str(caught.value)
    assert raw.runs == []


async def test_remedies_work(raw_wiro: AsyncWiro) -> None:
    """What the errors say can be sent."""
    Image.new("RGB", (2, 2)).save(buffer := io.BytesIO(), "PNG")
    given = {
        "image": File(buffer.getvalue(), "image.png"),
        "array": numpy.zeros((2, 2)).tolist(),
        "model": Model().model_dump(mode="json"),
        "plain": dataclasses.asdict(Plain()),
        "defined": attrs.asdict(Defined()),
    }
    assert (await raw_wiro.run("owner/model", given, timeout=5)).info.succeeded


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda path: File(path), "photo.png"),
        (lambda path: File(path, None), "photo.png"),
        (lambda path: File(path, "other.png"), "other.png"),
        (lambda path: File(path.open("rb")), "photo.png"),
        (lambda path: File(open(bytes(path), "rb")), "photo.png"),  # noqa: PTH123, SIM115
        (lambda path: File(io.BytesIO(b"x")), "file"),
        (lambda path: File(b"x"), "file"),
        (lambda path: File(b"x", path), "photo.png"),
    ],
)
def test_a_file_needs_no_name(tmp_path: Path, make: Callable[[Path], File], name: str) -> None:
    """A path has one, and so has a file that was opened by its path."""
    path = tmp_path / "photo.png"
    path.write_bytes(b"x")
    file = make(path)
    assert file.name == name
    if isinstance(file.data, io.IOBase):
        file.data.close()


@pytest.mark.parametrize("data", ["text", 5, None])
def test_no_file(data: Any) -> None:
    """Only what has bytes is one."""
    with pytest.raises(InvalidInputError, match=r"give bytes, a pathlib\.Path"):
        File(data)
