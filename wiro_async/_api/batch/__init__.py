"""Batches: any number of runs, a bounded number in flight."""

from wiro_async._api.batch.batch import Batch
from wiro_async._api.batch.batch_inputs import Inputs
from wiro_async._api.batch.batch_options import (
    BatchOptions,
    Concurrency,
    OnError,
    Order,
    RetryIf,
)
from wiro_async._api.batch.budget import Estimator
from wiro_async._api.batch.item_runs import Runs
from wiro_async._api.batch_report.counters import BatchStats
from wiro_async._api.batch_report.live_progress import ProgressListener

__all__ = [
    "Batch",
    "BatchOptions",
    "BatchStats",
    "Concurrency",
    "Estimator",
    "Inputs",
    "OnError",
    "Order",
    "ProgressListener",
    "RetryIf",
    "Runs",
]
