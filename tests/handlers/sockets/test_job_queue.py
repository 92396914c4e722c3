"""Job queues: one job at a time for a socket, and a bounded end."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from handlers.sessions.session_registry import Session
from handlers.sockets.job_queue import JOBS_MAX, JobQueues


def a_session() -> Session:
    """Build a session as far as a queue uses one."""
    return cast("Any", SimpleNamespace(jobs=None, worker=None))


class RecordedJobs:
    """Jobs that note when they begin, and end when they are allowed to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.is_allowed = asyncio.Event()

    def job(self, name: str) -> Any:
        async def run() -> None:
            self.begun.append(name)
            await self.is_allowed.wait()

        return run


async def test_jobs_of_one_socket_run_one_after_another():
    """Two sockets begin their first job; the second begins after the first has ended."""
    queues, jobs, one, two = JobQueues(), RecordedJobs(), a_session(), a_session()
    queues.enqueue(one, jobs.job("one, first"))
    queues.enqueue(one, jobs.job("one, second"))
    queues.enqueue(two, jobs.job("two, first"))
    await asyncio.sleep(0)
    assert (jobs.begun, len(queues)) == (["one, first", "two, first"], 2)

    jobs.is_allowed.set()
    await queues.finish()
    assert jobs.begun == ["one, first", "two, first", "one, second"]
    assert (len(queues), one.jobs, one.worker) == (0, None, None)


async def test_a_full_queue_says_so():
    """The running job counts; a socket without jobs is never full."""
    queues, jobs, session = JobQueues(), RecordedJobs(), a_session()
    assert not queues.is_full(session)
    for number in range(JOBS_MAX - 1):
        queues.enqueue(session, jobs.job(str(number)))
    await asyncio.sleep(0)
    assert not queues.is_full(session)
    queues.enqueue(session, jobs.job("last"))
    assert queues.is_full(session)

    jobs.is_allowed.set()
    await queues.finish()
    assert not queues.is_full(session)


async def test_finish_has_a_deadline():
    """A job that hangs holds up the end of the process for a bounded time."""
    queues, jobs, session = JobQueues(), RecordedJobs(), a_session()
    queues.enqueue(session, jobs.job("hangs"))
    async with asyncio.timeout(5):
        await queues.finish(deadline_s=0.01)
    assert (jobs.begun, len(queues)) == (["hangs"], 1)
    jobs.is_allowed.set()
    await queues.finish()
