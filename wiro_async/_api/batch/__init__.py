"""Batches: any number of runs, a bounded number in flight."""

from wiro_async._api.batch.batch import Batch
from wiro_async._api.batch.budget import Estimator
from wiro_async._api.batch.items import BatchItem, RunRequest
from wiro_async._api.batch.options import (
    BatchOptions,
    BatchSettings,
    Concurrency,
    OnError,
    Order,
    ProgressListener,
    RetryIf,
)
from wiro_async._api.batch.requests import Inputs
from wiro_async._api.batch.runs import Runs
from wiro_async._api.batch.stats import BatchStats

__all__ = [
    "Batch",
    "BatchItem",
    "BatchOptions",
    "BatchSettings",
    "BatchStats",
    "Concurrency",
    "Estimator",
    "Inputs",
    "OnError",
    "Order",
    "ProgressListener",
    "RetryIf",
    "RunRequest",
    "Runs",
]
