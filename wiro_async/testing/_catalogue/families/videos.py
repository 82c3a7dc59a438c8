"""Models that make videos: from text, from pictures, from speech."""

from decimal import Decimal

from wiro_async.testing._catalogue.families.family import a_file, family
from wiro_async.testing._catalogue.parameters import choices, group, item, labelled, rule, table

VIDEO = a_file("0.mp4", "video/mp4", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom")
PRICES = {
    ("480p", "5"): "0.06",
    ("720p", "5"): "0.13",
    ("1080p", "5"): "0.29",
    ("480p", "10"): "0.12",
    ("720p", "10"): "0.26",
    ("1080p", "10"): "0.58",
}


TEXT_TO_VIDEO = family(
    711,
    "text-to-video",
    ["text-to-video", "video"],
    [
        group(
            "Video",
            item("prompt", "textarea", "Prompt", required=True),
            item("duration", "select", "Seconds", value="5", options=choices("5", "10")),
            item("resolution", "select", "Resolution", value="720p", options=choices("480p", "720p", "1080p")),
            item("generateAudio", "select", "Sound", value="true", options=labelled(true="With", false="Without")),
            item("cameraFixed", "checkbox", "Fixed camera", value="false"),
            item("seed", "integer", "Seed", value="-1", minvalue="-1", maxvalue="4294967295", advanced="true"),
        )
    ],
    VIDEO,
    cost=lambda inputs: Decimal(PRICES[inputs.text("resolution", "720p"), inputs.text("duration", "5")]),
    dynamicprice=table(
        *[
            rule(price, "cpr", inputs={"resolution": resolution, "duration": duration})
            for (resolution, duration), price in PRICES.items()
        ]
    ),
)

IMAGE_TO_VIDEO = family(
    712,
    "image-to-video",
    ["image-to-video", "video"],
    [
        item("inputImage", "fileinput", "First frame", required=True),
        item("inputImageLast", "fileinput", "Last frame"),
        item("prompt", "textarea", "Prompt"),
        item("videoDuration", "range", "Seconds", default=5, min=3, max=15, step=1),
        item("motion", "range", "Motion", default="0.5", min="0", max="1", step="0.1"),
    ],
    VIDEO,
    cost=lambda inputs: Decimal("0.084") * inputs.integer("videoDuration", 5),
    dynamicprice=table(rule("0.084", "cp-outputVideoLength")),
)

LIP_SYNC = family(
    713,
    "lip-sync",
    ["video-to-video", "video"],
    [
        group("Input", item("inputVideo", "fileinput", "Video", required=True)),
        group(
            "Speech",
            item("inputAudio", "fileinput", "Audio", required=True),
            item(
                "syncMode", "select", "When lengths differ", value="loop", options=choices("loop", "bounce", "cut_off")
            ),
        ),
    ],
    VIDEO,
    cost=lambda inputs: Decimal("0.05"),
    dynamicprice=table(rule("0.05", "cps")),
    cps="0.05",
    approximatelycost="1.25",
)

VIDEOS = (TEXT_TO_VIDEO, IMAGE_TO_VIDEO, LIP_SYNC)
