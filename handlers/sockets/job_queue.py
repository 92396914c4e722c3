"""Job queues: jobs of one socket run one after another, those of other sockets in parallel."""

import asyncio
from collections import deque

import structlog

from handlers.sessions.session_registry import Job, Session

log = structlog.get_logger(__name__)

# Jobs of one socket, the running one included. Source: a person taps once or twice a second; what
# an app saved up during an outage fits.
JOBS_MAX = 32
# Source: settings, a stopping server has four seconds in all; a store answers within one.
FINISH_S_MAX = 2.0


class JobQueues:
    """Runs the jobs of all sockets of this process; the jobs must handle their own errors."""

    def __init__(self) -> None:
        self._workers: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many sockets have jobs that wait or run."""
        return len(self._workers)

    def is_full(self, session: Session) -> bool:
        """Whether a socket's queue takes no further command."""
        return len(session.jobs or ()) >= JOBS_MAX

    def enqueue(self, session: Session, job: Job) -> None:
        """Run a job after the socket's earlier ones."""
        if session.jobs is None:
            session.jobs = deque()
        session.jobs.append(job)
        if session.worker is None:
            session.worker = asyncio.get_running_loop().create_task(_run_jobs(session))
            self._workers.add(session.worker)
            session.worker.add_done_callback(self._workers.discard)

    async def finish(self, deadline_s: float = FINISH_S_MAX) -> None:
        """Wait until all queues are empty, or until the deadline."""
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=deadline_s)
            log.info("commands_finished", late=len(late))


async def _run_jobs(session: Session) -> None:
    jobs = session.jobs
    while jobs:
        # The running job stays at the head, so that the queue's length counts it.
        await jobs[0]()
        jobs.popleft()
    session.worker = session.jobs = None
