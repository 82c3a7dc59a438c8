"""Models as the service describes them, and the requests for them. https://wiro.ai/docs/models"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

import attrs

from wiro_async._protocol.http.requests import Request
from wiro_async._protocol.models.parameters import Parameter, parse_parameters
from wiro_async._protocol.tasks.records import moment
from wiro_async._protocol.values.json import JSON, encode
from wiro_async._protocol.values.parsing import BLANKS, as_amount, as_dict, as_int, as_rows, as_text, as_texts
from wiro_async._public import public

Sort: TypeAlias = Literal["id", "relevance"]
SortOrder: TypeAlias = Literal["ASC", "DESC"]
TURNS = "llm-tool-call"
NONE = frozenset({"", "null", "{}", "[]"})
ODD = re.compile(r"[\W_]+")


@public
@attrs.frozen
class PriceRule:
    """One row of a model's price table. https://wiro.ai/docs/pricing

    Attributes:
        inputs: the parameter values that it applies to; without any it always applies.
        price: US dollars for one unit of its method.
        method: such as "cpr"; the set is open.
        extra: price of each tier of pixels beyond the first.
        per_input: price of each input image, per tier.
    """

    inputs: Mapping[str, JSON]
    price: Decimal
    method: str
    extra: Decimal | None
    per_input: Decimal | None


def parse_price_rule(rule: Mapping[str, JSON]) -> PriceRule | None:
    """Parse one rule; None without a price, or with conditions that cannot be read."""
    price, conditions = as_amount(rule.get("price")), rule.get("inputs")
    inputs = as_dict(conditions)
    has_none = conditions.strip(BLANKS) in NONE if isinstance(conditions, str) else not conditions
    if price is None or not (inputs or has_none):
        return None
    method = as_text(rule.get("priceMethod")) or "cpr"
    extra, per_input = as_amount(rule.get("priceExtra")), as_amount(rule.get("priceInput"))
    return PriceRule(inputs, price, method, extra, per_input)


@public
@attrs.frozen
class ModelStats:
    """Counts of a model's runs, and the time of the last one."""

    runs: int
    successes: int
    failures: int
    last_run_at: datetime | None


def parse_model_stats(stats: Mapping[str, JSON]) -> ModelStats:
    runs, successes, failures = (as_int(stats.get(f"{name}count")) or 0 for name in ("run", "success", "error"))
    return ModelStats(runs, successes, failures, moment(stats.get("lastruntime")))


@public
@attrs.frozen
class Model:
    """A model as the service describes it. https://wiro.ai/docs/models

    Attributes:
        id: its number, as text.
        slug: "owner/model", in the clean spelling where there is one.
        raw_slug: the slug in the service's own spelling, which may have spaces and capitals.
        title, description, readme, image: what the service shows to people.
        categories, tags, samples: lists of text.
        parameters: its parameters; empty in a summary.
        prices: its price table; if it is empty, seconds are billed at `cost_per_second`.
        cost_per_second, average_cost: in US dollars, None if unknown.
        computing_time: the duration of a run, in words such as "10 seconds".
        stats: counts of its runs.
        raw: the service's own record.
    """

    id: str
    slug: str
    raw_slug: str = attrs.field(repr=False)
    title: str
    description: str = attrs.field(repr=False)
    readme: str = attrs.field(repr=False)
    image: str = attrs.field(repr=False)
    categories: tuple[str, ...]
    tags: tuple[str, ...] = attrs.field(repr=False)
    samples: tuple[str, ...] = attrs.field(repr=False)
    parameters: tuple[Parameter, ...] = attrs.field(repr=False)
    prices: tuple[PriceRule, ...] = attrs.field(repr=False)
    cost_per_second: Decimal | None = attrs.field(repr=False)
    average_cost: Decimal | None = attrs.field(repr=False)
    computing_time: str = attrs.field(repr=False)
    stats: ModelStats = attrs.field(repr=False)
    raw: Mapping[str, JSON] = attrs.field(repr=False)

    @property
    def takes_turns(self) -> bool:
        """Whether it is an LLM with messages and tools."""
        return TURNS in self.categories


def has_slug(model: Model, slug: str) -> bool:
    """Whether "owner/model" is the model's slug, in any case."""
    return slug.casefold() in (model.slug.casefold(), model.raw_slug.casefold())


def may_have_slug(model: Model, slug: str) -> bool:
    """Whether "owner/model" may be its slug: spaces, dashes and the like do not count, and it may have none."""
    slugs = {_fold(name) for name in (model.slug, model.raw_slug) if name}
    return not slugs or _fold(slug) in slugs


def parse_model(tool: Mapping[str, JSON]) -> Model:
    raw_slug = _slug(tool, "slugowner", "slugproject")
    rules = [parse_price_rule(as_dict(rule)) for rule in as_rows(tool.get("dynamicprice"))]
    return Model(
        id=as_text(tool.get("id")),
        slug=_slug(tool, "cleanslugowner", "cleanslugproject") or raw_slug,
        raw_slug=raw_slug,
        title=as_text(tool.get("title")),
        description=as_text(tool.get("description")),
        readme=as_text(tool.get("readme")),
        image=as_text(tool.get("image")),
        categories=as_texts(tool.get("categories")),
        tags=as_texts(tool.get("tags")),
        samples=as_texts(tool.get("samples")),
        parameters=parse_parameters(tool.get("parameters")),
        prices=tuple(rule for rule in rules if rule is not None),
        cost_per_second=as_amount(tool.get("cps")),
        average_cost=as_amount(tool.get("approximatelycost")),
        computing_time=as_text(tool.get("computingtime")),
        stats=parse_model_stats(as_dict(tool.get("taskstat"))),
        raw=tool,
    )


@public
@attrs.frozen
class ModelSection:
    """One row of the service's explore page: a title and some models, mostly summaries.

    Attributes:
        total: the number of models in all, None if unknown.
    """

    id: str
    title: str
    models: tuple[Model, ...] = attrs.field(repr=False)
    url: str
    total: int | None
    raw: Mapping[str, JSON] = attrs.field(repr=False)


def parse_section(section: Mapping[str, JSON]) -> ModelSection:
    models = tuple(_models(section.get("tools")))
    url, total = as_text(section.get("url")), as_int(section.get("total"))
    return ModelSection(as_text(section.get("id")), as_text(section.get("title")), models, url, total, section)


@attrs.frozen
class Filters:
    """Which models to list, and in which order."""

    search: str = ""
    categories: Sequence[str] = ()
    tags: Sequence[str] = ()
    owner: str | None = None
    sort: Sort = "id"
    order: SortOrder = "DESC"
    hide_workflows: bool = True
    summary: bool = False


def tool_list(filters: Filters, start: int, limit: int) -> Request:
    body: dict[str, JSON] = {
        "start": str(start),
        "limit": str(limit),
        "sort": filters.sort,
        "order": filters.order,
        "hideworkflows": filters.hide_workflows,
        "summary": filters.summary,
    }
    optional: dict[str, JSON] = {
        "search": filters.search,
        "categories": _as_names(filters.categories),
        "tags": _as_names(filters.tags),
        "slugowner": filters.owner,
    }
    return Request("Tool/List", encode(body | {name: value for name, value in optional.items() if value}))


def tool_detail(slug: str) -> Request:
    owner, _, project = slug.partition("/")
    return Request("Tool/Detail", encode({"slugowner": owner, "slugproject": project}))


def tool_explore() -> Request:
    return Request("Tool/Explore")


def parse_models(answer: Mapping[str, JSON]) -> list[Model]:
    return _models(answer.get("tool"))


def parse_total(answer: Mapping[str, JSON]) -> int | None:
    """Parse the number of models on all pages of Tool/List; None if unknown."""
    return as_int(answer.get("total"))


def parse_sections(answer: Mapping[str, JSON]) -> list[ModelSection]:
    return [parse_section(section) for section in as_rows(answer.get("explore")) if isinstance(section, dict)]


def _models(tools: JSON) -> list[Model]:
    return [parse_model(tool) for tool in as_rows(tools) if tool and isinstance(tool, dict)]


def _as_names(names: Sequence[str]) -> list[JSON]:
    return [names] if isinstance(names, str) else list(names)


def _slug(tool: Mapping[str, JSON], owner: str, project: str) -> str:
    pair = as_text(tool.get(owner)), as_text(tool.get(project))
    return "/".join(pair) if all(pair) else ""


def _fold(slug: str) -> str:
    return "/".join(ODD.sub("", part) for part in slug.casefold().split("/"))
