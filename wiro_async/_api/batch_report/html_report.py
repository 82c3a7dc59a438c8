"""One HTML page that shows how a batch went. Its pictures and charts are inside, so it needs no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from wiro_async._api.batch_report.batch_history import History
from wiro_async._api.batch_report.charts import flow_chart, histogram, timeline
from wiro_async._api.batch_report.counters import BatchStats
from wiro_async._api.batch_report.live_progress import duration
from wiro_async._errors import ConfigurationError
from wiro_async._transport import threads
from wiro_async._transport.files.atomic_file import atomic_file

THUMBNAIL = 320
QUALITY = 82


async def write_report(path: Path, stats: BatchStats, history: History) -> Path:
    """Write the page. Raises `ConfigurationError` if the extra "report" is not installed."""
    page = await threads.run(render, stats, history)
    async with atomic_file(path, overwrite=True) as file:
        await file.write(page.encode(errors="replace"))
    return path


def render(stats: BatchStats, history: History) -> str:
    """Return the page. Raises `ConfigurationError` if the extra "report" is not installed."""
    jinja2: Any = _imported("jinja2")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = resources.files("wiro_async._api.batch_report").joinpath("report.html.jinja").read_text(encoding="utf-8")
    ended = stats.succeeded + stats.failed + stats.skipped
    pictures = [(key, thumbnail(path)) for key, path in history.pictures]
    facts: Mapping[str, object] = {
        "stats": stats,
        "ended": ended,
        "elapsed": duration(stats.elapsed) if stats.elapsed >= 60 else f"{stats.elapsed:.1f} s",
        "share": stats.succeeded / ended if ended else 0.0,
        "mean_cost": stats.cost / stats.succeeded if stats.succeeded else None,
        "models": sorted(history.models.items(), key=lambda model: -model[1][1]),
        "reasons": history.reasons.most_common(),
        "timeline": timeline(history.spans, stats.elapsed),
        "flow": flow_chart(history.flow, stats.elapsed),
        "histogram": histogram(history.durations),
        "pictures": [(key, picture) for key, picture in pictures if picture],
    }
    page: str = environment.from_string(template).render(facts)
    return page


def thumbnail(path: Path) -> str | None:
    """Return a small picture as a data URL; None if the file is gone, or is no picture."""
    image: Any = _imported("PIL.Image")
    image_ops: Any = _imported("PIL.ImageOps")
    try:
        with image.open(path) as picture:
            small = image_ops.exif_transpose(picture).convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        data = io.BytesIO()
        small.save(data, "JPEG", quality=QUALITY, optimize=True)
    except Exception:  # decoders raise errors of any kind, and one bad picture must not cost the report
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def _imported(module: str) -> object:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"a report needs {error.name}, which is not installed: pip install 'wiro-async[report]'"
        ) from error
