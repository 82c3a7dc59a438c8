"""Tools that a model may call: functions that are run here, and schemas of what the caller runs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

import anyio
import anyio.to_thread
import attrs

from wiro_async._api.conversation import type_schemas as schemas
from wiro_async._errors import InvalidInputError, ToolError
from wiro_async._protocol.conversations.tool_calls import ToolCall, ToolOutput
from wiro_async._protocol.conversations.turn_rules import tool_names
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._protocol.values.json import JSON

Function: TypeAlias = Callable[..., object]
Tools: TypeAlias = Sequence[Function | Mapping[str, object]]
OnToolError: TypeAlias = Literal["tell", "raise"]


@attrs.frozen
class FunctionTool:
    """A function that a model may call.

    Attributes:
        declaration: what the model is told of it.
    """

    name: str
    function: Function
    declaration: dict[str, JSON]
    _arguments: type

    @classmethod
    def of(cls, function: Function) -> FunctionTool:
        """From its name, docstring and type hints. Raises `InvalidInputError` where these do not do."""
        name = _name_of(function)
        arguments = schemas.arguments_of(function, name)
        schema = schemas.schema_of(arguments, f"tool {name}")
        described: dict[str, JSON] = {"name": name, "description": inspect.getdoc(function) or ""}
        parameters: dict[str, JSON] = {key: value for key, value in schema.items() if key != "title"}
        return cls(name, function, {"type": "function", "function": {**described, "parameters": parameters}}, arguments)

    async def run(self, arguments: str) -> JSON:
        """Call it with a model's arguments. Raises whatever is wrong with these, or whatever it raises."""
        call = partial(self.function, **schemas.arguments_in(arguments or "{}", self._arguments))
        if _is_coroutine_function(self.function):
            given = call()
        else:
            given = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
        if inspect.isawaitable(given):
            given = await given
        return schemas.plain(given, f"what {self.name} returned")


@attrs.frozen
class Toolbox:
    """All tools of a turn.

    Attributes:
        functions: those that are run here, by name.
        declarations: what the model is told of all of them.
    """

    functions: Mapping[str, FunctionTool]
    declarations: Sequence[Mapping[str, object]]

    @classmethod
    async def of(cls, tools: Tools) -> Toolbox:
        """Check tools. Raises `InvalidInputError`, and `ConfigurationError` if a library is missing."""
        if any(not isinstance(tool, Mapping) for tool in tools):
            await schemas.load()
        ours = {id(tool): FunctionTool.of(tool) for tool in tools if not isinstance(tool, Mapping)}
        told = [tool if isinstance(tool, Mapping) else ours[id(tool)].declaration for tool in tools]
        names = tool_names(told)
        twice = {name for name in names if name and names.count(name) > 1}
        if twice:
            raise InvalidInputError(
                message=f"two tools are called {' and two '.join(sorted(twice))}; names tell them apart"
            )
        return cls({tool.name: tool for tool in ours.values()}, told)

    def runs(self, call: ToolCall, declared: Sequence[str]) -> bool:
        """Whether a call is answered here: it is of a function, or of nothing that was declared."""
        return call.name in self.functions or call.name not in declared

    async def run(
        self, calls: Sequence[ToolCall], on_error: OnToolError, tasks: Sequence[TaskInfo] = ()
    ) -> list[ToolOutput]:
        """Run calls at the same time. Cancelling cancels them all; threads of plain functions are left to end.

        Raises:
            ToolError: one failed, if that is wanted; the others are cancelled.
        """
        given: dict[int, ToolOutput] = {}
        failed: list[tuple[ToolCall, Exception]] = []

        async def run(index: int, call: ToolCall) -> None:
            try:
                given[index] = await self._output(call)
            except Exception as error:
                failed.append((call, error))
                if on_error == "raise":
                    group.cancel_scope.cancel()
                given[index] = ToolOutput(call.call_id, call.name, f"Error: {_told(error)}", failed=True)

        async with anyio.create_task_group() as group:
            for index, call in enumerate(calls):
                group.start_soon(run, index, call)
        if failed and on_error == "raise":
            call, error = failed[0]
            raise ToolError(call.name, call.call_id, _told(error), tasks) from error
        return [given[index] for index in range(len(calls))]

    async def _output(self, call: ToolCall) -> ToolOutput:
        tool = self.functions.get(call.name)
        if tool is None:
            raise LookupError(f"there is no tool {call.name!r}, only {', '.join(tool_names(self.declarations))}")
        try:
            return ToolOutput(call.call_id, call.name, await tool.run(call.arguments))
        except asyncio.CancelledError as error:
            here = asyncio.current_task()
            if here is None or here.cancelling():
                raise
            raise RuntimeError(f"{call.name} was cancelled by itself, or by what it waited for") from error


def _name_of(function: Function) -> str:
    given: object = function
    if not callable(given):
        raise InvalidInputError(message=f"a tool is {given!r}; give a function with type hints, or a tool's schema")
    while isinstance(given, partial):
        given = given.func
    if getattr(given, "__name__", "") == "<lambda>":
        raise InvalidInputError(
            message="a tool is a lambda, which has no name; write a function: def look(city: str): …"
        )
    return str(getattr(given, "__name__", type(given).__name__))


def _is_coroutine_function(function: Function) -> bool:
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
