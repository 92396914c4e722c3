"""Request batcher: requests of many callers share a call when many arrive at the same time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


class BatcherLimits(NamedTuple):
    """How many calls run at once, how many requests one carries, and when requests wait.

    Up to `unbatched_per_s` requests a second, and bursts of `unbatched_burst`, are sent at once.
    Above that rate a call that is not full starts up to `linger_s` later, to carry more requests.
    Units: requests, seconds.
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
    """Sends requests of many callers together: those of one event loop tick, and those that wait.

    Only for requests that may fail together: when a call fails, each of its callers gets the error.
    `send_batch` returns one response for each request, in order; `overflow_error` makes the error
    for a full queue from a message.
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
        # When all requests so far would have been sent at the unbatched rate, as in the generic
        # cell rate algorithm. Units: seconds of the loop's clock.
        self._theoretical_arrival_s = 0.0

    async def request(self, request: Request) -> Response:
        """The response to one request, which is sent after this call began.

        Errors: those of `send_batch`; `overflow_error` where too many requests wait.
        """
        return await self.submit(request)

    def submit(self, request: Request) -> "asyncio.Future[Response]":
        """Queue one request without waiting; the future of its response.

        Errors: `overflow_error` where too many requests wait; those of `send_batch` are set on the
        future.
        """
        if len(self._waiting) >= self._limits.waiting_max:
            raise self._overflow_error(f"{len(self._waiting)} requests wait already")
        response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting.append(_PendingRequest(request, response))
        self._schedule_call()
        return response

    def _schedule_call(self) -> None:
        """Schedule the next call, or move it forward where it has become full."""
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
        # Not at once: requests of the same tick of the loop join the call.
        self._next_call = (
            loop.call_later(wait_s, self._start_call)
            if wait_s
            else loop.call_soon(self._start_call)
        )

    def _linger_s(self, now_s: float) -> float:
        limits = self._limits
        ahead_s = (
            self._theoretical_arrival_s - now_s - limits.unbatched_burst / limits.unbatched_per_s
        )
        return min(max(ahead_s, 0.0), limits.linger_s)

    def _start_call(self) -> None:
        self._next_call = None
        now_s, limits = asyncio.get_running_loop().time(), self._limits
        # Requests whose callers were cancelled are sent too: a request may have an effect.
        batch = list(islice(self._waiting, limits.batch_max))
        for _ in batch:
            self._waiting.popleft()
        arrival_s = max(self._theoretical_arrival_s, now_s) + len(batch) / limits.unbatched_per_s
        latest_s = now_s + limits.unbatched_burst / limits.unbatched_per_s + limits.linger_s
        self._theoretical_arrival_s = min(arrival_s, latest_s)
        call = asyncio.ensure_future(self._send_batch([each.request for each in batch]))
        self._calls.add(call)
        call.add_done_callback(partial(self._on_call_done, [each.response for each in batch]))
        if self._waiting:
            self._schedule_call()

    def _on_call_done(
        self,
        responses: "Sequence[asyncio.Future[Response]]",
        call: "asyncio.Future[Sequence[Response]]",
    ) -> None:
        self._calls.discard(call)
        error = None if call.cancelled() else call.exception()
        results = () if call.cancelled() or error else call.result()
        for number, response in enumerate(responses):
            if response.done():
                continue
            if error is not None:
                response.set_exception(error)
            elif results:
                response.set_result(results[number])
            else:
                # The call was cancelled because the server stops: no caller is left waiting.
                response.cancel()
        if self._waiting:
            self._schedule_call()
