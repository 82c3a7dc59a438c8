"""Saves the outputs of a batch's items as they end."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Sequence
from pathlib import Path

import anyio
import attrs

from wiro_async._api.batch.items import BatchItem
from wiro_async._api.journal import Entry, JournalWriter
from wiro_async._api.outputs import Output
from wiro_async._errors import DownloadError
from wiro_async._protocol.filenames import safe_name, split_name

DOWNLOADS = 16  # items being saved at a time, however many run


@attrs.frozen
class Saver:
    """Downloads into one directory; what the journal knows to be saved is left alone."""

    directory: Path
    journal: JournalWriter | None

    async def save(self, item: BatchItem, entry: Entry | None) -> BatchItem:
        """The item, with where its outputs lie or why they could not be saved. Cancelling leaves no half file."""
        if item.result is None:
            return item
        if entry is not None and entry.saved and await _all_there(entry.saved):
            return attrs.evolve(item, saved=entry.saved)
        try:
            paths = await self._save_all(item.key, item.result.outputs)
        except (DownloadError, OSError) as error:
            return attrs.evolve(item, save_error=error)
        if entry is not None and self.journal is not None:
            self.journal.save(entry, paths)
        return attrs.evolve(item, saved=tuple(paths))

    async def _save_all(self, key: str, outputs: Sequence[Output]) -> list[Path]:
        stem = file_stem(key)
        # A journal's keys are all different, so a file of that name can only be this one, saved before.
        overwrite = self.journal is not None
        return [
            await output.save(self.directory / f"{stem}-{number}{_suffix(output)}", overwrite=overwrite)
            for number, output in enumerate(outputs, 1)
        ]


def file_stem(key: str) -> str:
    """What the names of an item's files begin with: different for different keys, safe on every system."""
    safe = safe_name(key, "item")
    if safe == key:
        return key
    return f"{safe}~{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _suffix(output: Output) -> str:
    kind = output.content_type.partition(";")[0]
    return split_name(safe_name(output.name))[1] or mimetypes.guess_extension(kind) or ("" if output.url else ".txt")


async def _all_there(paths: Sequence[Path]) -> bool:
    return all([await anyio.Path(path).is_file() for path in paths])
