"""Finds a model by its name and keeps it, so that a session asks for each model once.

Many callers may need the same model at the same moment, and one of them may be cancelled. So a background task makes
the request, and the callers only wait for it. A name has several spellings: the service finds a model by its own
spelling only, but people copy the clean one from the URL of the model's page.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence

import attrs

from wiro_async._api.resources.pages import Pages
from wiro_async._api.results.async_items import Items
from wiro_async._engine.background.background_tasks import BackgroundTask, BackgroundTasks
from wiro_async._engine.calls.api_client import ApiClient
from wiro_async._errors import APIError, DecodingError, NotFoundError, PermissionDeniedError, TransportError
from wiro_async._protocol.http.requests import model_path
from wiro_async._protocol.models import model as models
from wiro_async._protocol.models.model import Filters, Model
from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_rows
from wiro_async._transport import clock
from wiro_async._tuning import Tuning

logger = logging.getLogger("wiro_async")
SIMILAR = 0.8  # how alike two names must be to be suggested


@attrs.define
class _Cache:
    """What was read with one key, by case-folded names."""

    models: dict[str, Model] = attrs.field(factory=dict)
    read_at: dict[str, float] = attrs.field(factory=dict)
    missing_at: dict[str, float] = attrs.field(factory=dict)  # models whose schema the service does not give
    requests: dict[str, BackgroundTask] = attrs.field(factory=dict)

    def add(self, model: Model, names: Iterable[str]) -> None:
        for name in filter(None, names):
            self.models[name.casefold()] = model
            self.read_at[name.casefold()] = clock.loop_time()


class ModelLookup:
    """Gets models by name. Sessions and views with the same key share what was read."""

    def __init__(
        self, client: ApiClient, background: BackgroundTasks, tuning: Tuning, cache: _Cache | None = None
    ) -> None:
        self._client = client
        self._background = background
        self._tuning = tuning
        self._cache = cache or _Cache()

    def through(self, client: ApiClient) -> ModelLookup:
        """Share the cache, but make requests through another sender."""
        return ModelLookup(client, self._background, self._tuning, self._cache)

    async def get(self, *spellings: str, refresh: bool = False) -> Model:
        """Get a model from the cache, else from the service. Cancelling does not disturb others that wait for it.

        Raises:
            NotFoundError: there is no such model. The error names similar ones.
        """
        model_path(spellings[0])
        key = spellings[0].casefold()
        if not refresh and key in self._cache.models:
            return self._cache.models[key]
        await self._client.ready()
        request = self._cache.requests.get(key)
        if request is None or request.has_ended:
            request = self._cache.requests[key] = self._background.start(self._read, spellings)
        try:
            await request.wait()
        except Exception as error:  # each caller gets an error of its own: a traceback belongs to one raise
            raise copy.copy(error) from error.__cause__
        return self._cache.models[key]

    async def get_fresh(self, slug: str) -> tuple[Model, bool]:
        """Get a model, and whether it was read so recently that it may refuse an input."""
        model = await self.get(slug)
        return model, clock.loop_time() - self._cache.read_at[slug.casefold()] < self._tuning.schema_max_age

    async def get_or_none(self, slug: str) -> Model | None:
        """Get a model if the service gives it. A model that it does not give is not asked for again for a while."""
        missing_at = self._cache.missing_at.get(slug.casefold())
        if missing_at is not None and clock.loop_time() - missing_at < self._tuning.schema_max_age:
            return None
        try:
            return await self.get(slug)
        except (APIError, TransportError, DecodingError) as error:
            logger.info("the schema of %s could not be read: %s", slug, error)
            if isinstance(error, (NotFoundError, PermissionDeniedError)):
                self._cache.missing_at[slug.casefold()] = clock.loop_time()
            return None

    async def pages(self, filters: Filters) -> AsyncGenerator[Model, None]:
        """Read all models that the filters select, each once, page by page."""
        pages, seen, is_last = Pages(self._tuning.model_page_size), set[tuple[str, ...]](), False
        while not is_last:
            response = await self._page(filters, pages.start)
            new = {(model.id, *spellings_of(model)): model for model in models.parse_models(response)}
            for key, model in new.items():
                if key not in seen:
                    yield model
            rows, total = len(as_rows(response.get("tool"))), models.parse_total(response)
            is_last = new.keys() <= seen or pages.is_last(rows, total)
            seen |= new.keys()

    async def _read(self, spellings: tuple[str, ...]) -> None:
        try:
            model = await self._find(spellings)
            self._cache.add(model, (*spellings, model.slug, model.raw_slug))
        finally:
            self._cache.requests.pop(spellings[0].casefold(), None)

    async def _find(self, spellings: tuple[str, ...]) -> Model:
        for spelling in spellings:
            if (model := await self._detail(spelling)) is not None:
                return model
        slug = spellings[0]
        candidates = await self._candidates(slug)
        for candidate in candidates:
            if models.has_slug(candidate, slug):
                if (model := await self._detail(spellings_of(candidate)[-1])) is not None:
                    return model
                raise NotFoundError(message=f"model {slug!r} is listed, but this account has no access to it")
        from difflib import get_close_matches

        similar = get_close_matches(slug, {candidate.slug for candidate in candidates}, 3, SIMILAR)
        hint = f"did you mean {' or '.join(map(repr, similar))}?" if similar else "wiro.models.search(…) finds models"
        raise NotFoundError(message=f"there is no model {slug!r}; {hint}")

    async def _detail(self, slug: str) -> Model | None:
        try:
            found = models.parse_models(await self._client.call(models.tool_detail(slug)))
        except NotFoundError:
            return None
        if len(found) == 1 and models.may_have_slug(found[0], slug):
            return found[0] if found[0].slug else attrs.evolve(found[0], slug=slug)
        return next((model for model in found if models.has_slug(model, slug)), None)

    async def _candidates(self, slug: str) -> Sequence[Model]:
        """Models that may be the one in another spelling: by text search, else among the owner's models."""
        owner, _, project = slug.partition("/")
        found = models.parse_models(
            await self._page(Filters(project, sort="relevance", hide_workflows=False, summary=True), 0)
        )
        if any(models.has_slug(model, slug) for model in found):
            return found
        async with Items(self.pages(Filters(owner=owner, hide_workflows=False, summary=True))) as others:
            async for model in others:
                found.append(model)
                if len(found) >= self._tuning.max_candidates:
                    break
        return found

    async def _page(self, filters: Filters, start: int) -> dict[str, JSON]:
        try:
            return await self._client.call(models.tool_list(filters, start, self._tuning.model_page_size))
        except NotFoundError:  # the service says so where nothing matches
            return {}


def spellings_of(model: Model) -> tuple[str, ...]:
    """The names that find a model, the service's own spelling last."""
    return tuple(dict.fromkeys(filter(None, (model.slug, model.raw_slug)))) or ("",)
