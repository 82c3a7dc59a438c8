"""Language models: a chat model with tools, and a document reader."""

from decimal import Decimal

from wiro_async.testing._catalogue.families.family import an_answer, family
from wiro_async.testing._catalogue.parameters import choices, group, item, rule, table

CHAT = family(
    731,
    "chat",
    ["llm", "llm-tool-call"],
    [
        group(
            "Chat",
            item("prompt", "textarea", "Prompt", required=True),
            item("system_instructions", "textarea", "Instructions"),
            item("messages", "json-array", "Messages"),
            item("tools", "json-array", "Tools", jsonschema={"type": "array", "items": {"type": "object"}}),
            item("response_format", "json", "Response format"),
            item("temperature", "float", "Temperature", value="1", minvalue="0", maxvalue="2"),
            item("max_tokens", "integer", "Most tokens", value="4096", minvalue="1", maxvalue="128000"),
            item("reasoning", "select", "Reasoning", value="low", options=choices("none", "low", "medium", "high")),
            item("session_id", "text", "Session", advanced=True),
        )
    ],
    an_answer("Four."),
    cost=lambda inputs: Decimal("0.00001") * 12,
    dynamicprice=table(rule("0.00001", "cpt")),
    approximatelycost="0.002",
)

DOCUMENTS = family(
    732,
    "document-reader",
    ["llm", "document"],
    [
        item("inputDocumentMultiple", "multifileinput", "Documents", required=True, maxinputlenght="5"),
        item("prompt", "textarea", "Question", required=True),
        item("outputType", "select", "Answer as", default="text", options=["text", "json"]),
        item("user_id", "text", "User"),
        item("schema", "json", "Schema of the answer"),
    ],
    an_answer("It is about plums."),
    cost=lambda inputs: Decimal("0.003"),
    dynamicprice=table(rule("0.001", "cp-readoutput")),
    approximatelycost="0.003",
)

LANGUAGES = (CHAT, DOCUMENTS)
