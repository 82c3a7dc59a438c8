"""The models of the service. https://wiro.ai/docs/models"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from wiro_async._api.resources.model_lookup import ModelLookup, spellings_of
from wiro_async._api.results.async_items import Items
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.models import model as models
from wiro_async._protocol.models.model import Filters, Model, ModelSection, Sort, SortOrder
from wiro_async._types import Input

if TYPE_CHECKING:
    from wiro_async._engine.calls.api_client import ApiClient
    from wiro_async._protocol.models.pricing import Estimate


@cuts_frames
@attrs.frozen
class Models:
    """`wiro.models`. A model is referred to by "owner/model" or by its record."""

    _client: ApiClient
    _lookup: ModelLookup

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
        """List all models, newest first. Pages are fetched as they are needed. https://wiro.ai/docs/models

        Leaving the loop, or cancelling it, fetches no more.

        Args:
            categories, tags: only models that have all of these.
            owner: only models of this owner, such as "google".
            sort, order: by "id" or "relevance", "ASC" or "DESC".
            hide_workflows: leave out models that are made of others.
            summary: faster, and without the models' parameters.
        """
        filters = Filters("", categories, tags, owner, sort, order, hide_workflows, summary)
        return Items(self._lookup.pages(filters))

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
        """Find models by text, the most relevant first. Arguments as in `list`."""
        filters = Filters(text, categories, tags, owner, sort, order, hide_workflows, summary)
        return Items(self._lookup.pages(filters))

    async def explore(self) -> Sequence[ModelSection]:
        """Get the service's own selection, by section. Each call asks for it again. Cancelling changes nothing."""
        return models.parse_sections(await self._client.call(models.tool_explore()))

    async def get(self, model: str | Model, *, refresh: bool = False) -> Model:
        """Get a model with its parameters and prices. A session asks for each model once.

        Cancelling is safe: others that wait for the same model still get it.

        Args:
            model: "owner/model" in any case, in the clean spelling or the service's own; or a summary.
            refresh: ask again, even if the model is known.

        Raises:
            NotFoundError: there is no such model. The error names similar ones.
        """
        return await self._lookup.get(*(spellings_of(model) if isinstance(model, Model) else (model,)), refresh=refresh)

    async def validate(self, model: str | Model, input: Input | None = None) -> None:
        """Validate an input by the model's own parameters, before it is sent and paid for.

        This covers names, required parameters, types, ranges, steps and options, and the kinds and number of files.
        Only the model is asked for. Cancelling changes nothing.

        Raises:
            InvalidInputError: the input is wrong. `errors` holds every problem: what was given and what is allowed.
            NotFoundError: there is no such model.
        """
        from wiro_async._protocol.models import validation

        schema = await self._with_parameters(model)
        problems = validation.validate(schema, input)
        if problems:
            raise validation.invalid_input_error(schema, problems)

    async def estimate(self, model: str | Model, input: Input | None = None, count: int = 1) -> Estimate:
        """Estimate what `count` runs with this input will cost. https://wiro.ai/docs/pricing

        Only the model is asked for. Cancelling changes nothing.

        Raises:
            InvalidInputError: `count` is not a number of runs, or the input is not a mapping.
            NotFoundError: there is no such model.
        """
        from wiro_async._protocol.models import pricing

        return pricing.estimate(await self._with_parameters(model), input, count)

    async def _with_parameters(self, model: str | Model) -> Model:
        """A summary has no parameters, so it stands for the model that `get` gives."""
        return model if isinstance(model, Model) and model.parameters else await self.get(model)
