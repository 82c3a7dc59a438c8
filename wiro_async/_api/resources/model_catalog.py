"""The models of the service. https://wiro.ai/docs/models"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import TYPE_CHECKING

import anyio
import attrs

from wiro_async._api.resources.pages import Pages
from wiro_async._api.results.async_items import Items
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._engine.calls.sender import Sender
from wiro_async._errors import InvalidInputError, NotFoundError, SessionClosedError
from wiro_async._protocol.http.requests import RunInput, model_path
from wiro_async._protocol.models import model as models
from wiro_async._protocol.models.model import Filters, Model, ModelSection, Sort, SortOrder
from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_rows
from wiro_async._transport import clock
from wiro_async._types import CheckInputs, Input

if TYPE_CHECKING:
    from wiro_async._protocol.models.pricing import Estimate

PAGE = 100
CANDIDATES = 500  # how many models of an owner are looked through for a spelling
FRESH = 3600.0  # seconds for which nobody doubts a schema that is known by chance
SIMILAR = 0.8  # how much alike names must be to be suggested


@attrs.define(eq=False)
class _Lookup:
    """A model that is being asked for, by one or by many."""

    spellings: tuple[str, ...]
    model: Model | None = None
    error: Exception = attrs.field(factory=lambda: SessionClosedError("the session was closed during this call"))
    done: anyio.Event = attrs.field(factory=anyio.Event)


@attrs.define
class _Known:
    """What a session and its views know of models, and what they are asking for, by folded names."""

    models: dict[str, Model] = attrs.field(factory=dict)
    asked_at: dict[str, float] = attrs.field(factory=dict)
    lookups: dict[str, _Lookup] = attrs.field(factory=dict)

    def add(self, model: Model, names: Iterable[str]) -> None:
        for name in filter(None, names):
            self.models[name.casefold()] = model
            self.asked_at[name.casefold()] = clock.loop_time()


class Models:
    """`wiro.models`. A model is referred to by "owner/model" or by its record."""

    def __init__(self, sender: Sender, background: BackgroundTasks, known: _Known | None = None) -> None:
        self._sender = sender
        self._background = background
        self._known = known or _Known()

    def sharing(self, sender: Sender) -> Models:
        """The same models, asked for in another way."""
        return Models(sender, self._background, self._known)

    def list(
        self,
        *,
        categories: Sequence[str] = (),
        tags: Sequence[str] = (),
        owner: str | None = None,
        sort: Sort = "id",
        order: SortOrder = "DESC",
        hide_workflows: bool = True,
        summary: bool = False,
    ) -> Items[Model]:
        """All models, newest first; pages are fetched as they are needed. https://wiro.ai/docs/models

        Leaving it, or being cancelled in it, fetches no more.

        Args:
            categories, tags: only models that have all of these.
            owner: only models of this owner, such as "google".
            sort, order: by "id" or "relevance", "ASC" or "DESC".
            hide_workflows: leave out models that are made of others.
            summary: quicker, and without the models' parameters.
        """
        return Items(self._pages(Filters("", categories, tags, owner, sort, order, hide_workflows, summary)))

    def search(
        self,
        text: str,
        *,
        categories: Sequence[str] = (),
        tags: Sequence[str] = (),
        owner: str | None = None,
        sort: Sort = "relevance",
        order: SortOrder = "DESC",
        hide_workflows: bool = True,
        summary: bool = False,
    ) -> Items[Model]:
        """All models that a text finds, the most relevant first. Arguments as in `list`."""
        return Items(self._pages(Filters(text, categories, tags, owner, sort, order, hide_workflows, summary)))

    async def explore(self) -> Sequence[ModelSection]:
        """The service's own selection, shelf by shelf. It is asked for anew each time; cancelling changes nothing."""
        return models.parse_sections(await self._sender.call(models.tool_explore()))

    async def get(self, model: str | Model, *, refresh: bool = False) -> Model:
        """A model with its parameters and prices, asked for once in a session.

        Cancelling is safe: others who wait for the same model still get it.

        Args:
            model: "owner/model" in any case, in the clean spelling or the service's own; or a summary.
            refresh: ask again, even if it is known.

        Raises:
            NotFoundError: there is no such model; the error tells similar ones.
        """
        spellings = _names_of(model) if isinstance(model, Model) else (model,)
        model_path(spellings[0])
        known = None if refresh else self.known(spellings[0])
        if known is not None:
            return known
        await self._sender.ready()
        key = spellings[0].casefold()
        lookup = self._known.lookups.get(key)
        if lookup is None:
            lookup = self._known.lookups[key] = _Lookup(spellings)
            self._background.start(self._look_up, lookup)
        await lookup.done.wait()
        if lookup.model is None:
            raise copy.copy(lookup.error)
        return lookup.model

    def known(self, slug: str) -> Model | None:
        """The model if the session has asked for it already. Makes no request."""
        given: object = slug
        return self._known.models.get(given.casefold()) if isinstance(given, str) else None

    async def check(self, model: str | Model, input: Input | None = None) -> None:
        """See whether an input is right, before it is sent and paid for.

        Looks at names, required parameters, types, ranges, steps, options, and at kinds and counts of files. Nothing
        but the model is asked for; cancelling changes nothing.

        Raises:
            InvalidInputError: it is not; `errors` holds every problem found, with what was given and what is allowed.
            NotFoundError: there is no such model.
        """
        _check(await self._whole(model), input)

    async def estimate(self, model: str | Model, input: Input | None = None, count: int = 1) -> Estimate:
        """What `count` runs with this input will cost. https://wiro.ai/docs/pricing

        Nothing but the model is asked for; cancelling changes nothing.

        Raises:
            InvalidInputError: `count` is no number of runs, or the input is no mapping.
            NotFoundError: there is no such model.
        """
        from wiro_async._protocol.models import pricing

        return pricing.estimate(await self._whole(model), input, count)

    async def prepared(self, slug: str, input: Input | None, use: CheckInputs, check: bool | None) -> RunInput:
        """An input as it will be sent, checked if that is wanted.

        Args:
            use: whether the model's parameters are used: if known, always, or never. If they only happen to be known,
                names that are like none of them pass.
            check: True fetches and uses them whatever `use` says; False finds no fault with the input.
        """
        is_wanted = check is True or use is True
        if is_wanted:
            model: Model | None = await self.get(slug)
        else:
            model = self.known(slug) if use == "auto" else None
        if model is None:
            return RunInput.parse(input)
        if check is not False:
            model = await self._passed(slug, model, input, is_wanted)
        from wiro_async._protocol.models.file_routing import route_files

        return route_files(input, model.parameters)

    async def _passed(self, slug: str, model: Model, input: Input | None, is_strict: bool) -> Model:
        """The model, once it takes this input; one that was asked for long ago is asked for again before it refuses."""
        try:
            _check(model, input, is_strict)
        except InvalidInputError:
            if clock.loop_time() - self._known.asked_at[slug.casefold()] < FRESH:
                raise
            model = await self.get(slug, refresh=True)
            _check(model, input, is_strict)
        return model

    async def _whole(self, model: str | Model) -> Model:
        return model if isinstance(model, Model) and model.parameters else await self.get(model)

    async def _look_up(self, lookup: _Lookup) -> None:
        try:
            model = lookup.model = await self._found(lookup.spellings)
            self._known.add(model, (*lookup.spellings, model.slug, model.raw_slug))
        except Exception as error:
            lookup.error = error
        finally:
            del self._known.lookups[lookup.spellings[0].casefold()]
            lookup.done.set()

    async def _found(self, spellings: tuple[str, ...]) -> Model:
        """By the spellings that are given, else by the service's own."""
        for spelling in spellings:
            if (model := await self._detail(spelling)) is not None:
                return model
        slug = spellings[0]
        candidates = await self._candidates(slug)
        for candidate in candidates:
            if candidate.has_slug(slug):
                if (model := await self._detail(_names_of(candidate)[-1])) is not None:
                    return model
                raise NotFoundError(message=f"model {slug!r} is listed, but this account has no access to it")
        from difflib import get_close_matches

        similar = get_close_matches(slug, {candidate.slug for candidate in candidates}, 3, SIMILAR)
        hint = f"did you mean {' or '.join(map(repr, similar))}?" if similar else "wiro.models.search(…) finds models"
        raise NotFoundError(message=f"there is no model {slug!r}; {hint}")

    async def _detail(self, slug: str) -> Model | None:
        try:
            found = models.parse_models(await self._sender.call(models.tool_detail(slug)))
        except NotFoundError:
            return None
        if len(found) == 1 and found[0].may_have_slug(slug):
            return found[0] if found[0].slug else attrs.evolve(found[0], slug=slug)
        return next((model for model in found if model.has_slug(slug)), None)

    async def _candidates(self, slug: str) -> Sequence[Model]:
        owner, _, project = slug.partition("/")
        found = models.parse_models(
            await self._page(Filters(project, sort="relevance", hide_workflows=False, summary=True), 0)
        )
        if any(model.has_slug(slug) for model in found):
            return found
        async with Items(self._pages(Filters(owner=owner, hide_workflows=False, summary=True))) as others:
            async for model in others:
                found.append(model)
                if len(found) >= CANDIDATES:
                    break
        return found

    async def _pages(self, filters: Filters) -> AsyncGenerator[Model, None]:
        pages, seen, is_last = Pages(PAGE), set[tuple[str, ...]](), False
        while not is_last:
            answer = await self._page(filters, pages.start)
            new = {(model.id, *_names_of(model)): model for model in models.parse_models(answer)}
            for key, model in new.items():
                if key not in seen:
                    yield model
            is_last = new.keys() <= seen or pages.is_last(len(as_rows(answer.get("tool"))), models.parse_total(answer))
            seen |= new.keys()

    async def _page(self, filters: Filters, start: int) -> dict[str, JSON]:
        try:
            return await self._sender.call(models.tool_list(filters, start, PAGE))
        except NotFoundError:
            return {}


def _names_of(model: Model) -> tuple[str, ...]:
    """What it can be asked for by, the service's own spelling last."""
    return tuple(dict.fromkeys(filter(None, (model.slug, model.raw_slug)))) or ("",)


def _check(model: Model, input: Input | None, is_strict: bool = True) -> None:
    from wiro_async._protocol.models import validation as checking

    problems = [problem for problem in checking.validate(model, input) if is_strict or not problem.is_doubtful]
    if problems:
        raise checking.invalid_input_error(model, problems)
