# /// script
# requires-python = ">=3.11"
# dependencies = ["wiro-async[postgres]", "procrastinate>=3.5", "psycopg[binary]>=3.2"]
# ///
"""Pictures from a job queue. One PostgreSQL keeps the jobs (procrastinate) and the runs (wiro_async).

DATABASE_URL=postgresql://… python job_queue.py order KEY PROMPT [owner/model]
DATABASE_URL=postgresql://… python job_queue.py work [seconds without a sign of life after which a worker is dead]

Start as many workers as you like, on any machines. Kill one: another worker takes its job up again, with the same key.
So it follows the run that is already paid for.
"""

import asyncio
import logging
import os
import sys

from procrastinate import App, PsycopgConnector, RetryStrategy

from wiro_async import AsyncWiro

URL = os.environ["DATABASE_URL"]
# The queue warns of tasks in the main program, which it names after their module. The one here has a name of its own.
logging.getLogger("procrastinate.blueprints").setLevel(logging.ERROR)
app = App(connector=PsycopgConnector(conninfo=URL))
wiro: AsyncWiro


@app.task(name="paint", retry=RetryStrategy(max_attempts=5, exponential_wait=2))
async def paint(key: str, prompt: str, model: str) -> None:
    """Run the model once for this key, however often the queue calls this."""
    result = await wiro.run(model, {"prompt": prompt}, key=key, on_cancel="leave")
    print(key, result.output.name, flush=True)


async def order(key: str, prompt: str, model: str = "google/nano-banana-pro") -> None:
    """Put a job into the queue. One that waits there under this key already is not put there again."""
    async with app.open_async():
        if not await app.check_connection_async():  # the tables of the queue are missing
            await app.schema_manager.apply_schema_async()
        await paint.configure(queueing_lock=key).defer_async(key=key, prompt=prompt, model=model)


async def work(dead_after: str = "30") -> None:
    """Run jobs until the process is stopped. Jobs of workers that died go back into the queue."""
    global wiro
    async with app.open_async(), AsyncWiro(journal=URL) as wiro:
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=float(dead_after)):
            await app.job_manager.retry_job(job)
        await app.run_worker_async(concurrency=20, wait=os.environ.get("DRAIN") is None)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    asyncio.run(order(*arguments) if command == "order" else work(*arguments))
