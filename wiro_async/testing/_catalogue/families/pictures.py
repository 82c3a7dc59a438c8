"""Models that make pictures: text to image, editing, try-on, upscaling."""

from decimal import Decimal
from functools import cache

from wiro_async.testing._catalogue.families.family import family, files_of
from wiro_async.testing._catalogue.parameters import choices, group, item, labelled, rule, table
from wiro_async.testing._json import Json
from wiro_async.testing._scripts import FileOutput, Outputs, RunInput

TIER = 1024 * 1024


@cache
def _picture() -> bytes:
    from wiro_async.testing._scenery.painter import paint

    return paint("a family picture", 64, 64, 0)


def _pictures(inputs: RunInput) -> Outputs:
    count = inputs.integer("samples", 1)
    return tuple(FileOutput(f"{number}.png", "image/png", _picture()) for number in range(count))


TEXT_TO_IMAGE = family(
    701,
    "text-to-image",
    ["text-to-image", "fast-inference"],
    [
        group(
            "Prompt",
            item("prompt", "textarea", "Prompt", required=True, placeholder="A futuristic city at sunset", rows="3"),
            item("negativePrompt", "textarea", "Negative prompt", placeholder="blurry", value=""),
        ),
        group(
            "Settings",
            item("width", "range", "Width", value="1024", minvalue="512", maxvalue="2048", incrementby="64"),
            item("height", "range", "Height", value="1024", minvalue="512", maxvalue="2048", incrementby="64"),
            item("samples", "select", "Images", value="1", options=choices("1", "2", "3", "4")),
            item("steps", "range", "Steps", value="30", minvalue="1", maxvalue="50", incrementby="1"),
            item("scale", "float", "Guidance", value="7.5", minvalue="1", maxvalue="20", incrementby="0.5"),
            item("seed", "text", "Seed", value="123456", note="The same seed gives the same picture", advanced=True),
            item("scheduler", "select", "Scheduler", value="", options="", advanced=True),
        ),
    ],
    _pictures,
    cost=lambda inputs: Decimal("0.039") * inputs.integer("samples", 1),
    dynamicprice=table(rule("0.039", "cpo")),
)

TRY_ON_PRICES = {1: "0.09", 2: "0.14", 3: "0.19"}
TRY_ON = family(
    702,
    "Virtual Try-On",
    ["image-to-image", "image-editing"],
    [
        item("inputImageHuman", "fileinput", "Person", required="true", note="One person, from head to toe"),
        item("inputImageClothes", "combinefileinput", "Clothes", required="true", maxinputlenght="3"),
        item("productType", "select", "Kind", default="auto", options=labelled(auto="Automatic", top="Top", dress="")),
        item("keepShoes", "checkbox", "Keep the shoes", default=False),
    ],
    _pictures,
    cost=lambda inputs: Decimal(TRY_ON_PRICES[files_of(inputs, "inputImageClothes")]),
    cleanslugproject="virtual-try-on",
    dynamicprice=table(
        *[
            rule(price, "cpr", inputs={"inputImageClothes": f"QUANTITY:{count}"})
            for count, price in TRY_ON_PRICES.items()
        ]
    ),
)

EDIT_PRICES = {"1K": "0.134", "2K": "0.134", "4K": "0.24"}
RATIOS: list[Json] = ["", "1:1", "16:9", "9:16", "4:3", "3:4", "21:9"]
IMAGE_EDIT = family(
    703,
    "image-edit",
    ["image-to-image", "text-to-image", "image-editing"],
    [
        group(
            "",
            item("inputImage", "combinefileinput", "Images", maxinputlenght="14"),
            item("prompt", "textarea", "Prompt", required=True),
            item("aspectRatio", "selectwithcover", "Aspect ratio", value="", options=RATIOS),
            item("resolution", "select", "Resolution", value="1K", options=choices("1K", "2K", "4K")),
            item("temperature", "float", "Temperature", value="1.0", minvalue="0", maxvalue="2", advanced=True),
            item("watermark", "select", "Watermark", value="false", options=choices("true", "false"), advanced=True),
        )
    ],
    _pictures,
    cost=lambda inputs: Decimal(EDIT_PRICES[inputs.text("resolution", "1K")]),
    dynamicprice=table(*(rule(price, "cpr", inputs={"resolution": size}) for size, price in EDIT_PRICES.items())),
)


def _canvas_cost(inputs: RunInput) -> Decimal:
    pixels = inputs.integer("width", 1024) * inputs.integer("height", 1024)
    tiers = max(1, -(-pixels // TIER))
    images = files_of(inputs, "inputImage")
    return Decimal("0.05") + (tiers - 1) * Decimal("0.05") + images * tiers * Decimal("0.02")


CANVAS = family(
    704,
    "exact-canvas",
    ["text-to-image", "image-to-image"],
    [
        group(
            "Canvas",
            item("prompt", "textarea", "Prompt", required=True),
            item("inputImage", "multifileinput", "References", maxinputlenght=8),
            item("width", "integer", "Width", default=1024, min=64, max=4096, step=16),
            item("height", "integer", "Height", default=1024, min=64, max=4096, step=16),
            item("outputFormat", "select", "Format", default="jpeg", options=["jpeg", "png"]),
            item("safety-tolerance", "number", "Tolerance", default=2, min=0, max=5),
        )
    ],
    _pictures,
    cost=_canvas_cost,
    dynamicprice=[rule("0.05", "cp-pixel", priceExtra=0.05, priceInput=0.02)],
)

UPSCALER = family(
    705,
    "upscaler",
    ["image-to-image", "upscale"],
    [
        item("inputImage", "fileinput", "Picture", required=True),
        item("scale", "select", "Scale", default="2", options=["2", "4", "8"]),
        item("creativity", "number", "Creativity", default="0.35", min="0", max="1", step="0.05"),
        item("outputSize", "text", "Size", placeholder="2048x2048"),
    ],
    _pictures,
    cost=lambda inputs: Decimal("0.02") + 3 * Decimal("0.01"),
    dynamicprice=table(rule("0.02", "cp-pixel", priceExtra=0.01)),
)

PICTURES = (TEXT_TO_IMAGE, TRY_ON, IMAGE_EDIT, CANVAS, UPSCALER)
