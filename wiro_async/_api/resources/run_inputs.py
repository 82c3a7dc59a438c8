"""Turns the input of a run into what is sent, and explains why the service refused it.

The same call must always send the same bytes, so it must not matter what the session happens to know of a model. Two
kinds of call need the model's schema, and both ask for it if the session does not have it: a call with files, because
only the schema says which field takes a file and which one takes a URL; and a call with `validate=True`. Every other
input is sent as it was given. If the service does not give the schema, a file is sent in the field that it was given
for, and a URL under the name that it was given for.
"""

from __future__ import annotations

import logging

import anyio
import attrs

from wiro_async._api.resources.model_lookup import ModelLookup
from wiro_async._errors import InvalidInputError
from wiro_async._protocol.http.requests import RunInput, has_file, to_mapping
from wiro_async._protocol.models.model import Model
from wiro_async._tuning import Tuning
from wiro_async._types import Input

logger = logging.getLogger("wiro_async")


@attrs.frozen
class RunInputs:
    """Prepares the inputs of a session's runs."""

    _lookup: ModelLookup
    _tuning: Tuning

    async def prepare(self, slug: str, input: Input | None, validate: bool) -> RunInput:
        """Prepare an input for sending.

        Raises:
            InvalidInputError: it cannot be sent, or `validate` found problems.
            NotFoundError: `validate` is set and there is no such model.
        """
        if validate:
            model: Model | None = await self._validate(slug, input)
        else:
            has_files = any(map(has_file, to_mapping(input).values()))
            model = await self._lookup.get_or_none(slug) if has_files else None
        if model is None:
            return RunInput.parse(input)
        from wiro_async._protocol.models.file_routing import route_files

        return route_files(input, model.parameters)

    async def explain(self, error: InvalidInputError, slug: str, input: Input | None) -> None:
        """Add the problems that the schema shows to an error of the service. Fails silently, and takes little time."""
        from wiro_async._protocol.models import validation

        try:
            with anyio.move_on_after(self._tuning.schema_wait):
                problems = validation.validate(await self._lookup.get(slug), input)
                error.explain([str(problem) for problem in problems])
        except Exception as failure:  # the service's own error says more than the failure to explain it
            logger.debug("the refusal of an input for %s could not be explained: %s", slug, failure)

    async def _validate(self, slug: str, input: Input | None) -> Model:
        """A schema that was read long ago is read again before it refuses an input: models learn new options."""
        from wiro_async._protocol.models import validation

        model, is_fresh = await self._lookup.get_fresh(slug)
        problems = validation.validate(model, input)
        if problems and not is_fresh:
            model = await self._lookup.get(slug, refresh=True)
            problems = validation.validate(model, input)
        if problems:
            raise validation.invalid_input_error(model, problems)
        return model
