"""Models that make assets for later use: 3D shapes, and weights trained on pictures."""

from wiro_async.testing._catalogue.families.family import a_file, family
from wiro_async.testing._catalogue.parameters import choices, group, item

GLB = b"glTF\x02\x00\x00\x00\x20\x00\x00\x00\x0c\x00\x00\x00JSON{}          "
WEIGHTS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"

IMAGE_TO_3D = family(
    741,
    "image-to-3d",
    ["image-to-3d", "3d"],
    [
        group(
            "Shape",
            item("inputImage", "multifileinput", "Views", required=True, maxinputlenght="4"),
            item("topology", "select", "Topology", value="triangle", options=choices("triangle", "quad")),
            item(
                "targetPolycount", "range", "Faces", value="30000", minvalue="100", maxvalue="300000", incrementby="100"
            ),
            item("texture", "checkbox", "Texture", value=True),
            item("pbr.enable", "checkbox", "Physically based", value=False),
        )
    ],
    a_file("0.glb", "model/gltf-binary", GLB),
    dynamicprice=None,
    cps="0.002",
    approximatelycost="0.12",
)

TRAINING = family(
    742,
    "lora-training",
    ["training"],
    [
        item("inputZip", "fileinput", "Pictures", required=True, note="A zip of 10 to 50 pictures"),
        item("triggerWord", "text", "Trigger word", required=True),
        item("steps", "integer", "Steps", default="1000", min="100", max="4000", step="100"),
        item("learningRate", "float", "Learning rate", default="0.0004", min="0.000001", max="0.01"),
        item("captions", "video-captions", "Captions"),
    ],
    a_file("lora.safetensors", "application/octet-stream", WEIGHTS),
    dynamicprice="",
    cps="0.001",
    approximatelycost="",
    computingtime="20 minutes",
)

ASSETS = (IMAGE_TO_3D, TRAINING)
