"""Questions of many callers that share a call where many ask at about the same time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

Asked = TypeVar("Asked")
Told = TypeVar("Told")


class Terms(NamedTuple):
    """How many calls run side by side, what one carries, and when questions wait for others.

    Up to `free_per_s` questions a second, and `free_at_once` at a time, go as soon as they are
    asked. Above that a call that is not full begins `linger_s` after the one before.
    """

    calls_at_once: int
    asked_max: int
    waiting_max: int
    free_per_s: float
    free_at_once: int
    linger_s: float


class _Waiting(NamedTuple, Generic[Asked, Told]):
    asked: Asked
    answer: "asyncio.Future[Told]"


class Gather(Generic[Asked, Told]):
    """Asks one thing for each caller; those of one turn of the loop, and those who wait, together.

    Only for what may fail together: where a call fails, all who share it hear so. `run` answers
    some questions in their order.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Asked]], Awaitable[Sequence[Told]]],
        terms: Terms,
        overflow: Callable[[str], Exception],
    ) -> None:
        self._run = run
        self._terms = terms
        self._overflow = overflow
        self._waiting: deque[_Waiting[Asked, Told]] = deque()
        self._calls: set[asyncio.Future[Sequence[Told]]] = set()
        self._next: asyncio.Handle | None = None
        self._is_lingering = False
        # When all that was asked would have been, at the free rate. Units: seconds of the loop.
        self._paid_s = 0.0

    async def ask(self, asked: Asked) -> Told:
        """The answer to one question, sent after this call began.

        Errors: those of `run`; that of `overflow` where too many wait.
        """
        return await self.put(asked)

    def put(self, asked: Asked) -> "asyncio.Future[Told]":
        """The same for who need not wait.

        Errors: that of `overflow` where too many wait; those of `run` are the answer's.
        """
        if len(self._waiting) >= self._terms.waiting_max:
            raise self._overflow(f"{len(self._waiting)} wait already")
        answer: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(asked, answer))
        self._plan()
        return answer

    def _plan(self) -> None:
        """See to it that the next call begins in time."""
        is_full = len(self._waiting) >= self._terms.asked_max
        if self._next is not None:
            if not (is_full and self._is_lingering):
                return
            self._next.cancel()
            self._next = None
        if len(self._calls) >= self._terms.calls_at_once:
            return
        loop = asyncio.get_running_loop()
        wait_s = 0.0 if is_full else self._lingers_s(loop.time())
        self._is_lingering = wait_s > 0
        # Those who ask in this turn of the loop go along.
        self._next = loop.call_later(wait_s, self._go) if wait_s else loop.call_soon(self._go)

    def _lingers_s(self, now_s: float) -> float:
        terms = self._terms
        ahead_s = self._paid_s - now_s - terms.free_at_once / terms.free_per_s
        return min(max(ahead_s, 0.0), terms.linger_s)

    def _go(self) -> None:
        self._next = None
        now_s, terms = asyncio.get_running_loop().time(), self._terms
        # Also those whose askers have gone: some questions change something.
        together = list(islice(self._waiting, terms.asked_max))
        for _ in together:
            self._waiting.popleft()
        paid_s = max(self._paid_s, now_s) + len(together) / terms.free_per_s
        last_s = now_s + terms.free_at_once / terms.free_per_s + terms.linger_s
        self._paid_s = min(paid_s, last_s)
        call = asyncio.ensure_future(self._run([each.asked for each in together]))
        self._calls.add(call)
        call.add_done_callback(partial(self._ended, [each.answer for each in together]))
        if self._waiting:
            self._plan()

    def _ended(
        self, answers: "Sequence[asyncio.Future[Told]]", call: "asyncio.Future[Sequence[Told]]"
    ) -> None:
        self._calls.discard(call)
        error = None if call.cancelled() else call.exception()
        told = () if call.cancelled() or error else call.result()
        for number, answer in enumerate(answers):
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
            self._plan()
