"""Answers of a given form: what is asked for, and reading it. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, TypeAlias, TypeVar

import attrs

from wiro_async._api.conversation import type_schemas as schemas
from wiro_async._errors import InvalidInputError, ResponseFormatError
from wiro_async._protocol.conversations.answer_format import json_text, response_format, schema_in, strict
from wiro_async._protocol.models.model import Model
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._protocol.values.json import JSON, decode, to_json
from wiro_async._types import Input

T = TypeVar("T")
Schema: TypeAlias = Mapping[str, object]
ResponseModel: TypeAlias = type[T] | Schema
NAME = "response_format"


@attrs.frozen
class AnswerForm(Generic[T]):
    """What an answer must be.

    Attributes:
        format: what asks for it.
    """

    format: Mapping[str, JSON]
    _read: Callable[[str], T]

    @classmethod
    async def of(cls, wanted: ResponseModel[T]) -> AnswerForm[T]:
        """From a class, or from a JSON schema. Raises `InvalidInputError` for anything else."""
        if isinstance(wanted, Mapping):
            await schemas.load(validation=True)
            given = {str(name): to_json(value, f"response_model[{name!r}]") for name, value in wanted.items()}
            form = response_format(str(given.get("title") or "answer"), given)
            return cls(form, partial(_checked, schemas.validator(schema_in(form), "response_model")))  # type: ignore[arg-type]
        await schemas.load()
        name = getattr(wanted, "__name__", str(wanted))
        schema = strict(schemas.schema_of(wanted, f"response_model {name}"))
        return cls(response_format(name, schema), partial(schemas.decoded_as, kind=wanted))

    @classmethod
    def none(cls) -> AnswerForm[None]:
        """Any text will do."""
        return AnswerForm({}, lambda text: None)

    def asked_for(self, given: Input | None) -> dict[str, object]:
        """An input with it. Raises `InvalidInputError` if the input asks for another one."""
        if given and given.get(NAME):
            raise InvalidInputError(message=f"{NAME} is in the input, and response_model is given; give one of them")
        return {**(given or {}), NAME: self.format}

    def read(self, text: str, tasks: Sequence[TaskInfo] = (), finish_reason: str | None = None) -> T:
        """The value in an answer. Raises `ResponseFormatError`."""
        return reading(self._read, text, tasks, finish_reason)


def reading(read: Callable[[str], T], text: str, tasks: Sequence[TaskInfo], finish_reason: str | None) -> T:
    """What `read` makes of the JSON in an answer. Raises `ResponseFormatError` for any error."""
    try:
        return read(json_text(text))
    except Exception as error:  # whatever a class of the caller's raises, the answer is paid for
        why = f" (the model stopped by {finish_reason!r})" if finish_reason not in (None, "stop") else ""
        raise ResponseFormatError(text, f"{error}{why}", tasks) from error


def check_form(model: Model | None) -> None:
    """See whether a model can be asked for a form. Raises `InvalidInputError` if it is known that it cannot."""
    if model is None or not model.parameters or model.takes_turns:
        return
    if all(parameter.id != NAME for parameter in model.parameters):
        raise InvalidInputError(
            message=f"{model.slug} takes no {NAME}, so response_model cannot be asked of it; nothing was sent. "
            "Describe the form in the prompt, and read the answer with result.parse(…)"
        )


def _checked(check: Callable[[JSON], None], text: str) -> JSON:
    value = decode(text)
    check(value)
    return value
