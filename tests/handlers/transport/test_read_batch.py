"""What a turn of the loop has brought is read in a row; what came of it goes out after that."""

import asyncio

from handlers.transport.read_batch import READS_MAX, ReadBatch
from tests.waiting import Until


class Case:
    """A turn whose reads and writes are noted in their order; each read has one watcher told."""

    def __init__(self) -> None:
        self.read_batch = ReadBatch()
        self.calls: list[str] = []

    def consume(self, data: bytes) -> None:
        assert data != b"bug", "this is what a bug of ours looks like"
        self.calls.append(f"read {data.decode()}")
        self.read_batch.add_write(self, data)

    def send(self, frame: bytes) -> None:
        self.calls.append(f"told {frame.decode()}")


async def test_all_reads_precede_all_writes():
    """Calls of the kernel are made in a row, and so is the work between them."""
    case = Case()
    case.read_batch.add_read(case, b"1")
    case.read_batch.add_read(case, b"2")
    assert case.calls == []
    await Until().true(lambda: bool(case.calls))
    assert case.calls == ["read 1", "read 2", "told 1", "told 2"]


async def test_a_full_batch_is_flushed_at_once():
    """No more than so many reads are kept, however many the loop has."""
    case = Case()
    for _ in range(READS_MAX):
        case.read_batch.add_read(case, b"x")
    assert case.calls == ["read x"] * READS_MAX + ["told x"] * READS_MAX
    case.read_batch.add_read(case, b"y")
    await Until().true(lambda: case.calls[-1] == "told y")


async def test_a_write_without_a_read_is_flushed():
    """A position of another node comes over Redis."""
    case = Case()
    case.read_batch.add_write(case, b"1")
    assert case.calls == []
    await Until().true(lambda: case.calls == ["told 1"])


async def test_a_failing_read_does_not_stop_the_others():
    """It is told to the loop, and everybody else is read and told."""
    case, complaints = Case(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, it: complaints.append(it))
    for data in (b"1", b"bug", b"2"):
        case.read_batch.add_read(case, data)
    await Until().true(lambda: case.calls[-1:] == ["told 2"])
    assert case.calls == ["read 1", "told 1", "read 2", "told 2"]
    assert len(complaints) == 1


def test_an_empty_batch_flushes_nothing():
    """A turn without anything ends at once."""
    case = Case()
    case.read_batch.flush()
    assert case.calls == []
