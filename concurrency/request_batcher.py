"""Questions of many callers that share a call where many ask at about the same time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


class BatcherLimits(NamedTuple):
    """How many calls run side by side, what one carries, and when questions wait for others.

    Up to `free_per_s` questions a second, and `free_at_once` at a time, go as soon as they are
    asked. Above that a call that is not full begins `linger_s` after the one before.
    """

    concurrent_calls_max: int
    batch_max: int
    waiting_max: int
    unbatched_per_s: float
    unbatched_burst: int
    linger_s: float


class _PendingRequest(NamedTuple, Generic[Request, Response]):
    request: Request
    response: "asyncio.Future[Response]"


class RequestBatcher(Generic[Request, Response]):
    """Asks one thing for each caller; those of one turn of the loop, and those who wait, together.

    Only for what may fail together: where a call fails, all who share it hear so. `run` answers
    some questions in their order.
    """

    def __init__(
        self,
        send_batch: Callable[[Sequence[Request]], Awaitable[Sequence[Response]]],
        limits: BatcherLimits,
        overflow_error: Callable[[str], Exception],
    ) -> None:
        self._send_batch = send_batch
        self._limits = limits
        self._overflow_error = overflow_error
        self._waiting: deque[_PendingRequest[Request, Response]] = deque()
        self._calls: set[asyncio.Future[Sequence[Response]]] = set()
        self._next_call: asyncio.Handle | None = None
        self._is_lingering = False
        # When all that was asked would have been, at the free rate. Units: seconds of the loop.
        self._theoretical_arrival_s = 0.0

    async def request(self, request: Request) -> Response:
        """The answer to one question, sent after this call began.

        Errors: those of `run`; that of `overflow` where too many wait.
        """
        return await self.submit(request)

    def submit(self, request: Request) -> "asyncio.Future[Response]":
        """The same for who need not wait.

        Errors: that of `overflow` where too many wait; those of `run` are the answer's.
        """
        if len(self._waiting) >= self._limits.waiting_max:
            raise self._overflow_error(f"{len(self._waiting)} wait already")
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting.append(_PendingRequest(request, answer))
        self._schedule_call()
        return answer

    def _schedule_call(self) -> None:
        """See to it that the next call begins in time."""
        is_full = len(self._waiting) >= self._limits.batch_max
        if self._next_call is not None:
            if not (is_full and self._is_lingering):
                return
            self._next_call.cancel()
            self._next_call = None
        if len(self._calls) >= self._limits.concurrent_calls_max:
            return
        loop = asyncio.get_running_loop()
        wait_s = 0.0 if is_full else self._linger_s(loop.time())
        self._is_lingering = wait_s > 0
        # Those who ask in this turn of the loop go along.
        self._next_call = (
            loop.call_later(wait_s, self._start_call)
            if wait_s
            else loop.call_soon(self._start_call)
        )

    def _linger_s(self, now_s: float) -> float:
        terms = self._limits
        ahead_s = (
            self._theoretical_arrival_s - now_s - terms.unbatched_burst / terms.unbatched_per_s
        )
        return min(max(ahead_s, 0.0), terms.linger_s)

    def _start_call(self) -> None:
        self._next_call = None
        now_s, terms = asyncio.get_running_loop().time(), self._limits
        # Also those whose askers have gone: some questions change something.
        together = list(islice(self._waiting, terms.batch_max))
        for _ in together:
            self._waiting.popleft()
        paid_s = max(self._theoretical_arrival_s, now_s) + len(together) / terms.unbatched_per_s
        last_s = now_s + terms.unbatched_burst / terms.unbatched_per_s + terms.linger_s
        self._theoretical_arrival_s = min(paid_s, last_s)
        call = asyncio.ensure_future(self._send_batch([each.request for each in together]))
        self._calls.add(call)
        call.add_done_callback(partial(self._on_call_done, [each.response for each in together]))
        if self._waiting:
            self._schedule_call()

    def _on_call_done(
        self,
        responses: "Sequence[asyncio.Future[Response]]",
        call: "asyncio.Future[Sequence[Response]]",
    ) -> None:
        self._calls.discard(call)
        error = None if call.cancelled() else call.exception()
        told = () if call.cancelled() or error else call.result()
        for number, answer in enumerate(responses):
            if answer.done():
                continue
            if error is not None:
                answer.set_exception(error)
            elif told:
                answer.set_result(told[number])
            else:
                # The server ends, and nobody is left waiting.
                answer.cancel()
        if self._waiting:
            self._schedule_call()
