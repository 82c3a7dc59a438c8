"""Guess the media types of files that are uploaded."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from wiro_async._types import File

# Types that the service accepts and that machines without a list of their own, such as containers, do not know.
TYPES = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".heic": "image/heic",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".wav": "audio/wav",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def content_type_of(file: File) -> str:
    """Return the file's media type, guessed from its name if not given. Call it in a thread: it may read a list."""
    if file.content_type:
        return file.content_type
    suffix = Path(file.name).suffix.lower()
    guess, encoding = mimetypes.guess_type(f"file{suffix}")
    return TYPES.get(suffix) or (not encoding and guess) or "application/octet-stream"
