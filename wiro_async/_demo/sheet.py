"""The contact sheet: one page that needs only the pictures next to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from os.path import relpath
from pathlib import Path
from string import Template
from urllib.parse import quote

from wiro_async._demo.parts import Plan
from wiro_async._demo.records import Answer, Picture, Totals, shown_money, shown_seconds

LANE_HEIGHT, LANE_GAP = 5, 2
CHART_WIDTH = 1200


def contact_sheet(
    folder: Path, one: Picture | None, answer: Answer | None, many: Sequence[Picture], totals: Totals, plan: Plan
) -> str:
    """Return the page for a folder."""
    subtitle = (
        f"{plan.in_flight} at a time with {plan.picture_model}. "
        f"One after the other they would take {shown_seconds(totals.alone)}."
    )
    template = Template((files("wiro_async._demo") / "sheet.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=f"{totals.runs - totals.failures} pictures in {shown_seconds(totals.wall)}",
        subtitle=escape(subtitle.replace(" min ", "\u00a0min\u00a0")),
        tiles=_tiles(totals, plan),
        chart=_chart(many, totals.wall),
        opening=_opening(folder, one, answer),
        gallery="\n".join(_figure(folder, picture) for picture in many),
        footer="Made by <code>python -m wiro_async demo</code> "
        + ("on an emulator: nothing was billed." if plan.paced else f"with {escape(plan.picture_model)}, live."),
    )


def _tiles(totals: Totals, plan: Plan) -> str:
    times = totals.alone / totals.wall if totals.wall else 0.0
    facts = (
        ("pictures", str(totals.runs - totals.failures)),
        ("failures", str(totals.failures)),
        ("in flight", str(plan.in_flight)),
        ("wall time", shown_seconds(totals.wall)),
        ("faster than one by one", f"{times:.1f}×"),
        ("cost" if not plan.paced else "cost, not billed", shown_money(totals.cost)),
    )
    return "\n".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in facts)


def _chart(pictures: Iterable[Picture], wall: float) -> str:
    """Draw every run as a bar from its submission to its end, in as many lanes as there were runs in flight."""
    lanes: list[float] = []
    bars: list[str] = []
    scale = CHART_WIDTH / (wall or 1.0)
    for picture in sorted(pictures, key=lambda picture: picture.started):
        lane = next((lane for lane, free in enumerate(lanes) if free <= picture.started), len(lanes))
        lanes[lane : lane + 1] = [picture.ended]
        tip = f"{picture.prompt} · {shown_seconds(picture.ended - picture.started)}"
        bars.append(
            f'<rect x="{picture.started * scale:.1f}" y="{lane * (LANE_HEIGHT + LANE_GAP)}"'
            f' width="{max(2.0, (picture.ended - picture.started) * scale - 2):.1f}" height="{LANE_HEIGHT}" rx="1.5"'
            f' fill="hsl({215 + 110 * picture.started / (wall or 1.0):.0f} 80% {"68%" if picture.file else "30%"})">'
            f"<title>{escape(tip)}</title></rect>"
        )
    height = max(1, len(lanes)) * (LANE_HEIGHT + LANE_GAP)
    return (
        f'<svg viewBox="0 0 {CHART_WIDTH} {height}" preserveAspectRatio="none" role="img"'
        f' aria-label="Start and end of each run">'
        f"{''.join(bars)}</svg><p><span>0 s</span><span>each bar is a run, from its submission to its end</span>"
        f"<span>{shown_seconds(wall)}</span></p>"
    )


def _opening(folder: Path, one: Picture | None, answer: Answer | None) -> str:
    shown = _figure(folder, one) if one else ""
    if answer is not None:
        paragraphs = "".join(f"<p>{escape(text)}</p>" for text in answer.text.split("\n\n") if text.strip())
        thinking = f"<p class=thinking>{escape(answer.thinking)}</p>" if answer.thinking else ""
        shown += f"<article><h2>{escape(answer.prompt)}</h2>{thinking}{paragraphs}</article>"
    return shown


def _figure(folder: Path, picture: Picture) -> str:
    took = shown_seconds(picture.elapsed)
    caption = f"<figcaption><span>{escape(picture.prompt)}</span><time>{took}</time></figcaption>"
    style = f"--ratio:{picture.ratio:.4f}"
    if picture.file is None:
        reason = escape(picture.problem or "no picture")
        return f'<figure class=failed style="{style}"><div>{reason}</div>{caption}</figure>'
    link = quote(Path(relpath(picture.file, folder)).as_posix())
    image = f'<img src="{link}" alt="{escape(picture.prompt)}" decoding="async">'
    return f'<figure style="{style}"><a href="{link}">{image}</a>{caption}</figure>'
