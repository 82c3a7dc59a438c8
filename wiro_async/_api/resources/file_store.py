"""Files that the service keeps for later runs. https://wiro.ai/docs/files"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import IO
from uuid import uuid4

import attrs

from wiro_async._engine.calls.sender import Sender
from wiro_async._errors import InvalidInputError
from wiro_async._protocol.files import stored_files as files
from wiro_async._protocol.files.stored_files import Folder, UploadedFile
from wiro_async._transport.files.upload_reader import size_of
from wiro_async._types import File, OnProgress


@attrs.frozen
class Files:
    """`wiro.files`: upload once, and give the URL to as many runs as you like."""

    _sender: Sender

    async def upload(
        self,
        file: os.PathLike[str] | IO[bytes] | File,
        folder_id: str | int | None = None,
        on_progress: OnProgress | None = None,
    ) -> UploadedFile:
        """Upload a file, in constant memory. It is sent once: if the answer is lost, nothing is repeated.

        Its name is made unique, as the service fails on one that is taken, or gives the old file instead. Cancelling
        drops the connection.

        Args:
            file: a path, an open binary file (sent from its present position), or a `File` of bytes or an async
                iterable. At most 100 MiB.
            folder_id: the folder to put it in.
            on_progress: called with the bytes sent so far, and with how many there are (None if not known); may be
                a coroutine function.

        Raises:
            InvalidInputError: it is too large, no file, or was sent before and cannot be read again; nothing was sent,
                or it was not sent whole.
            OSError: it could not be read.
            APIError, TransportError: the service refused it, or the connection failed.
        """
        given = files.given_file(file)
        files.check_size(given.name, await size_of(given))
        watched = attrs.evolve(given, on_progress=_Watch(given.name, on_progress or given.on_progress))
        return files.uploaded(
            await self._sender.call(files.upload(watched, _id(folder_id, "folder_id"), uuid4().hex[:8]))
        )

    async def create_folder(self, name: str, parent_id: str | int | None = None) -> Folder:
        """Make a folder. It is asked for once; cancelling may leave one made.

        Args:
            name: letters, digits, - and _.
            parent_id: the folder to make it in.

        Raises:
            InvalidInputError: the name is not allowed; nothing was sent.
            APIError: the service refused it, for instance because there is one of that name.
        """
        return files.created(await self._sender.call(files.folder_create(name, _id(parent_id, "parent_id"))))


@attrs.frozen
class _Watch:
    """Sees that what has no known size does not become too large on the way."""

    name: str
    on_progress: OnProgress | None

    def __call__(self, sent: int, total: int | None) -> Awaitable[None] | None:
        files.check_size(self.name, sent)
        return None if self.on_progress is None else self.on_progress(sent, total)


def _id(given: object, name: str) -> str | None:
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    raise InvalidInputError(message=f"{name} is a {type(given).__name__}; give the id of a folder, such as folder.id")
