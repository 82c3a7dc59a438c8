"""Tools that a model may call: functions, which are run here, and schemas of tools that the caller runs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

import anyio
import attrs

from wiro_async._api.results import type_schemas as schemas
from wiro_async._errors import InvalidInputError, ToolError
from wiro_async._protocol.messages.tool_calls import ToolCall, ToolOutput
from wiro_async._protocol.models.turn_rules import tool_names
from wiro_async._protocol.values.json import JSON
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport import threads

Function: TypeAlias = Callable[..., object]
Tools: TypeAlias = Sequence[Function | Mapping[str, object]]
OnToolError: TypeAlias = Literal["tell", "raise"]


@attrs.frozen
class FunctionTool:
    """A function that a model may call."""

    name: str
    function: Function
    declaration: dict[str, JSON]  # describes it to the model
    _arguments: type

    @classmethod
    def of(cls, function: Function) -> FunctionTool:
        """Make a tool from the name, docstring and type hints of a function.

        Raises:
            InvalidInputError: they do not suffice, or it is no function.
        """
        if not callable(function):
            raise InvalidInputError(
                message=f"a tool is {function!r}; give a function with type hints, or a tool's schema"
            )
        named: object = schemas.without_partials(function)
        name = str(getattr(named, "__name__", type(named).__name__))
        if name == "<lambda>":
            raise InvalidInputError(
                message="a tool is a lambda, which has no name; write a function: def look(city: str): …"
            )
        arguments = schemas.arguments_of(function, name)
        schema = schemas.schema_of(arguments, f"tool {name}")
        described: dict[str, JSON] = {"name": name, "description": inspect.getdoc(function) or ""}
        parameters: dict[str, JSON] = {key: value for key, value in schema.items() if key != "title"}
        return cls(name, function, {"type": "function", "function": {**described, "parameters": parameters}}, arguments)

    async def run(self, arguments: str) -> JSON:
        """Call the function with the arguments of a model. Raises what the function raises, or what is wrong with them.

        A plain function runs in a thread, so that it cannot block the event loop.
        """
        call = partial(self.function, **schemas.arguments_in(arguments or "{}", self._arguments))
        function: object = schemas.without_partials(self.function)
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
            output = call()
        else:
            output = await threads.run(call, kind="tools")
        if inspect.isawaitable(output):
            output = await output
        return schemas.to_plain(output, f"what {self.name} returned")


@attrs.frozen
class Toolbox:
    """All tools of a turn."""

    functions: Mapping[str, FunctionTool]  # the tools that are run here, by name
    declarations: Sequence[Mapping[str, object]]  # describe all tools to the model

    @classmethod
    def of(cls, tools: Tools) -> Toolbox:
        """Check tools, and describe functions. Raises `InvalidInputError`."""
        ours = {id(tool): FunctionTool.of(tool) for tool in tools if not isinstance(tool, Mapping)}
        declarations = [tool if isinstance(tool, Mapping) else ours[id(tool)].declaration for tool in tools]
        names = tool_names(declarations)
        twice = {name for name in names if name and names.count(name) > 1}
        if twice:
            raise InvalidInputError(
                message=f"two tools are called {' and two '.join(sorted(twice))}; give each tool its own name"
            )
        return cls({tool.name: tool for tool in ours.values()}, declarations)

    def runs(self, call: ToolCall, declared: Sequence[str]) -> bool:
        """Whether a call is answered here: of a function, or of a tool that does not exist."""
        return call.name in self.functions or call.name not in declared

    async def run(
        self, calls: Sequence[ToolCall], on_error: OnToolError, tasks: Sequence[TaskInfo] = ()
    ) -> list[ToolOutput]:
        """Run calls at the same time. Cancelling cancels all of them. Threads of plain functions are left to end.

        Raises:
            ToolError: one failed, and `on_error` is "raise". The others are cancelled.
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
                given[index] = ToolOutput(call.call_id, call.name, f"Error: {_describe(error)}", failed=True)

        async with anyio.create_task_group() as group:
            for index, call in enumerate(calls):
                group.start_soon(run, index, call)
        if failed and on_error == "raise":
            call, error = failed[0]
            raise ToolError(call.name, call.call_id, _describe(error), tasks) from error
        return [given[index] for index in range(len(calls))]

    async def _output(self, call: ToolCall) -> ToolOutput:
        tool = self.functions.get(call.name)
        if tool is None:
            raise LookupError(f"there is no tool {call.name!r}, only {', '.join(tool_names(self.declarations))}")
        try:
            return ToolOutput(call.call_id, call.name, await tool.run(call.arguments))
        except asyncio.CancelledError as error:
            # A tool may cancel itself, or wait for something that is cancelled. That is an error of the tool. If this
            # task is being cancelled, it is the caller who gives up.
            here = asyncio.current_task()
            if here is None or here.cancelling():
                raise
            raise RuntimeError(f"{call.name} was cancelled by itself, or by what it waited for") from error


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
