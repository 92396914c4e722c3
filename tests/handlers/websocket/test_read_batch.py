"""Reads of one event-loop tick are handled together, and positions are written after them."""

import asyncio

from handlers.websocket.read_batch import READS_MAX, ReadBatch
from tests.waiting import Until


class Case:
    """A batch whose reads and writes are recorded in order; each read adds one write."""

    def __init__(self) -> None:
        self.read_batch = ReadBatch()
        self.calls: list[str] = []

    def consume(self, data: bytes) -> None:
        assert data != b"bug", "an error in a handler"
        self.calls.append(f"read {data.decode()}")
        self.read_batch.add_write(self, data)

    def send(self, frame: bytes) -> None:
        self.calls.append(f"write {frame.decode()}")


async def test_all_reads_precede_all_writes():
    """Two clients' input is handled before anything is written to either."""
    case = Case()
    case.read_batch.add_read(case, b"1")
    case.read_batch.add_read(case, b"2")
    assert case.calls == []
    await Until().true(lambda: bool(case.calls))
    assert case.calls == ["read 1", "read 2", "write 1", "write 2"]


async def test_a_full_batch_is_flushed_at_once():
    """At most `READS_MAX` reads are kept, however many one tick brings."""
    case = Case()
    for _ in range(READS_MAX):
        case.read_batch.add_read(case, b"x")
    assert case.calls == ["read x"] * READS_MAX + ["write x"] * READS_MAX
    case.read_batch.add_read(case, b"y")
    await Until().true(lambda: case.calls[-1] == "write y")


async def test_a_write_without_a_read_is_flushed():
    """The position of another node, which comes over Redis, is written in the same tick."""
    case = Case()
    case.read_batch.add_write(case, b"1")
    assert case.calls == []
    await Until().true(lambda: case.calls == ["write 1"])


async def test_a_failing_read_does_not_stop_the_others():
    """The event loop reports the error once; the other reads and writes happen."""
    case, reported = Case(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    for data in (b"1", b"bug", b"2"):
        case.read_batch.add_read(case, data)
    await Until().true(lambda: case.calls[-1:] == ["write 2"])
    asyncio.get_running_loop().set_exception_handler(None)
    assert case.calls == ["read 1", "write 1", "read 2", "write 2"]
    assert len(reported) == 1


def test_an_empty_batch_flushes_nothing():
    """A flush without reads or writes calls nothing."""
    case = Case()
    case.read_batch.flush()
    assert case.calls == []
