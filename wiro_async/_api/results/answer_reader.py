"""Structured answers: the request for one, and reading it. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, TypeAlias, TypeVar

import attrs

from wiro_async._api.results import type_schemas as schemas
from wiro_async._errors import InvalidInputError, ResponseFormatError
from wiro_async._protocol.conversations.answer_format import json_text, response_format, schema_in, strict
from wiro_async._protocol.models.model import Model
from wiro_async._protocol.values.json import JSON, decode, to_json
from wiro_async._records.task_info import TaskInfo
from wiro_async._types import Input

T = TypeVar("T")
Schema: TypeAlias = Mapping[str, object]
ResponseModel: TypeAlias = type[T] | Schema
NAME = "response_format"


@attrs.frozen
class AnswerForm(Generic[T]):
    """The form that an answer must have."""

    format: Mapping[str, JSON]  # the parameter that requests it
    _read: Callable[[str], T]

    @classmethod
    async def of(cls, wanted: ResponseModel[T]) -> AnswerForm[T]:
        """Make a form from a class or a JSON schema. Raises `InvalidInputError` for anything else."""
        if isinstance(wanted, Mapping):
            await schemas.load_validation()
            given = {str(name): to_json(value, f"response_model[{name!r}]") for name, value in wanted.items()}
            form = response_format(str(given.get("title") or "answer"), given)
            check = schemas.validator(schema_in(form), "response_model")

            def read(text: str) -> JSON:
                value = decode(text)
                check(value)
                return value

            return cls(form, read)  # type: ignore[arg-type]  # T is JSON here
        name = getattr(wanted, "__name__", str(wanted))
        schema = strict(schemas.schema_of(wanted, f"response_model {name}"))
        return cls(response_format(name, schema), partial(schemas.decode_as, kind=wanted))

    @classmethod
    def none(cls) -> AnswerForm[None]:
        return AnswerForm({}, lambda text: None)

    def add_to(self, given: Input | None) -> dict[str, object]:
        """An input that requests this form. Raises `InvalidInputError` if the input requests another one."""
        if given and given.get(NAME):
            raise InvalidInputError(message=f"{NAME} is in the input, and response_model is given; give one of them")
        return {**(given or {}), NAME: self.format}

    def read(self, text: str, tasks: Sequence[TaskInfo] = (), finish_reason: str | None = None) -> T:
        """The value in an answer. Raises `ResponseFormatError`."""
        return read_answer(self._read, text, tasks, finish_reason)


def read_answer(read: Callable[[str], T], text: str, tasks: Sequence[TaskInfo], finish_reason: str | None) -> T:
    """The value that `read` makes of the JSON in an answer. Raises `ResponseFormatError` for any error."""
    try:
        return read(json_text(text))
    except Exception as error:  # a class of the caller may raise anything, and the answer is paid for
        why = f" (the model stopped by {finish_reason!r})" if finish_reason not in (None, "stop") else ""
        raise ResponseFormatError(text, f"{error}{why}", tasks) from error


def check_form(model: Model | None) -> None:
    """Raise `InvalidInputError` for a model that is known not to take a form."""
    if model is None or not model.parameters or model.takes_turns:
        return
    if all(parameter.id != NAME for parameter in model.parameters):
        raise InvalidInputError(
            message=f"{model.slug} takes no {NAME}, so response_model cannot be used with it. Nothing was sent. "
            "Describe the form in the prompt, and read the answer with result.parse(…)"
        )
