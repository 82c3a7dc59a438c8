"""Tools that a model may call: functions, which are run here, and schemas of tools that the caller runs."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

import anyio
import attrs

from wiro_async._api.results import type_schemas as schemas
from wiro_async._errors import InvalidInputError, ToolError
from wiro_async._protocol.messages.text_snapshot import join_surrogates
from wiro_async._protocol.messages.tool_calls import ToolCall, ToolOutput
from wiro_async._protocol.models.turn_rules import tool_names
from wiro_async._protocol.values.json import JSON
from wiro_async._records.task_info import TaskInfo
from wiro_async._transport import threads

logger = logging.getLogger("wiro_async")
LONGEST_PROBLEM = 10_000  # characters of an error that are sent to a model
Function: TypeAlias = Callable[..., object]
Tools: TypeAlias = Sequence[Function | Mapping[str, object]]
OnToolError: TypeAlias = Literal["tell", "raise"]
ToolTimeout: TypeAlias = float | Mapping[str, float | None]
Outcome: TypeAlias = tuple[JSON, BaseException | None]


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
        call = partial(self.function, **schemas.arguments_in(arguments.strip() or "null", self._arguments))
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
        self,
        calls: Sequence[ToolCall],
        on_error: OnToolError,
        tasks: Sequence[TaskInfo] = (),
        timeout: ToolTimeout | None = None,
        grace: float = 1.0,
    ) -> list[ToolOutput]:
        """Run calls at the same time. Cancelling cancels all of them. Threads of plain functions are left to end.

        Args:
            timeout: seconds for each call, or by the names of tools, "*" for all others.
            grace: seconds that a cancelled call has to end.

        Raises:
            ToolError: one failed, and `on_error` is "raise". The others are cancelled.
        """
        given: dict[int, ToolOutput] = {}
        failed: list[tuple[ToolCall, BaseException]] = []

        async def run(index: int, call: ToolCall) -> None:
            seconds = timeout.get(call.name, timeout.get("*")) if isinstance(timeout, Mapping) else timeout
            output, error = await self._call(call, seconds, grace)
            if error is None:
                given[index] = ToolOutput(call.call_id, call.name, output)
                return
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

    async def _call(self, call: ToolCall, seconds: float | None, grace: float) -> Outcome:
        """Call a tool in a task of its own, so that only a cancellation of our task means that the caller gives up.

        A tool may cancel its task, exit, or wait for something that is cancelled. All of that is an error of the tool.
        """
        tool = self.functions.get(call.name)
        if tool is None:
            names = ", ".join(tool_names(self.declarations))
            return None, LookupError(f"there is no tool {call.name!r}, only {names}")
        task = asyncio.create_task(_outcome(tool, call.arguments), name=f"wiro_async tool {call.name}")
        is_late = False
        try:
            await asyncio.wait([task], timeout=seconds)
            is_late = not task.done()
        finally:
            if not task.done():
                task.cancel()
                with anyio.CancelScope(shield=True):
                    await asyncio.wait([task], timeout=grace)
                if not task.done():
                    logger.warning("tool %s does not end although it was cancelled", call.name)
        if is_late:
            return None, TimeoutError(f"{call.name} took longer than {seconds:g} s")
        if task.cancelled():
            return None, RuntimeError(f"{call.name} was cancelled by itself, or by what it waited for")
        return task.result()


async def _outcome(tool: FunctionTool, arguments: str) -> Outcome:
    try:
        return await tool.run(arguments), None
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also SystemExit: raised in a task, it would end the event loop
        return None, error


def _describe(error: BaseException) -> str:
    """The text of any error, as it can be sent: a file name in it may be no UTF-8, and it may have no text at all."""
    try:
        text = str(error)
    except Exception as problem:
        text = f"(without a text: {type(problem).__name__})"
    text = text if len(text) <= LONGEST_PROBLEM else f"{text[:LONGEST_PROBLEM]}…"
    return join_surrogates(f"{type(error).__name__}: {text}")
