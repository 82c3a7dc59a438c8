"""Files that the service keeps for later runs. https://wiro.ai/docs/files"""

from __future__ import annotations

import os
from typing import IO
from uuid import uuid4

import attrs

from wiro_async._engine.calls.api_client import ApiClient
from wiro_async._errors import InvalidInputError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.files import stored_files
from wiro_async._protocol.files.stored_files import Folder, UploadedFile
from wiro_async._types import File, OnProgress


@cuts_frames
@attrs.frozen
class Files:
    """`wiro.files`: upload a file once, and give its URL to any number of runs."""

    _client: ApiClient

    async def upload(
        self,
        file: os.PathLike[str] | IO[bytes] | File,
        folder_id: str | int | None = None,
        on_progress: OnProgress | None = None,
    ) -> UploadedFile:
        """Upload a file in constant memory. It is sent once: if the response is lost, nothing is repeated.

        The name gets a unique ending, because the service fails on a name that is taken, or returns the old file.
        Cancelling drops the connection.

        Args:
            file: a path, an open binary file (sent from its present position), or a `File` of bytes or an async
                iterable. At most 100 MiB, or `Tuning.max_upload`.
            folder_id: the folder to put it in.
            on_progress: called with the number of bytes sent, and with the total (None if unknown). May be a coroutine
                function.

        Raises:
            InvalidInputError: the file is too large, is not a file, or was sent before and cannot be read again.
            OSError: the file could not be read.
            APIError, TransportError: the service refused it, or the connection failed.
        """
        given = stored_files.given_file(file)
        if on_progress is not None:
            given = attrs.evolve(given, on_progress=on_progress)
        request = stored_files.upload(given, _folder_id(folder_id, "folder_id"), uuid4().hex[:8])
        return stored_files.uploaded(await self._client.call(request))

    async def create_folder(self, name: str, parent_id: str | int | None = None) -> Folder:
        """Make a folder. The request is sent once; cancelling may leave the folder made.

        Args:
            name: letters, digits, - and _.
            parent_id: the folder to make it in.

        Raises:
            InvalidInputError: the name is not allowed. Nothing was sent.
            APIError: the service refused it, for instance because a folder of that name exists.
        """
        request = stored_files.folder_create(name, _folder_id(parent_id, "parent_id"))
        return stored_files.created(await self._client.call(request))


def _folder_id(given: object, name: str) -> str | None:
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    raise InvalidInputError(message=f"{name} is a {type(given).__name__}; give the id of a folder, such as folder.id")
