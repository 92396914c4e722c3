"""What a turn of the loop has brought is read in a row; what came of it goes out after that."""

import asyncio

from handlers.transport.read_batch import READS_MAX, Turn
from tests.waiting import Until


class Case:
    """A turn whose reads and writes are noted in their order; each read has one watcher told."""

    def __init__(self) -> None:
        self.turn = Turn()
        self.noted: list[str] = []

    def read(self, data: bytes) -> None:
        assert data != b"bug", "this is what a bug of ours looks like"
        self.noted.append(f"read {data.decode()}")
        self.turn.write(self, data)

    def send(self, frame: bytes) -> None:
        self.noted.append(f"told {frame.decode()}")


async def test_all_that_came_is_read_before_anything_goes_out():
    """Calls of the kernel are made in a row, and so is the work between them."""
    case = Case()
    case.turn.read(case, b"1")
    case.turn.read(case, b"2")
    assert case.noted == []
    await Until().true(lambda: bool(case.noted))
    assert case.noted == ["read 1", "read 2", "told 1", "told 2"]


async def test_a_long_turn_is_read_in_parts():
    """No more than so many reads are kept, however many the loop has."""
    case = Case()
    for _ in range(READS_MAX):
        case.turn.read(case, b"x")
    assert case.noted == ["read x"] * READS_MAX + ["told x"] * READS_MAX
    case.turn.read(case, b"y")
    await Until().true(lambda: case.noted[-1] == "told y")


async def test_what_is_told_outside_of_a_read_goes_out_too():
    """A position of another node comes over Redis."""
    case = Case()
    case.turn.write(case, b"1")
    assert case.noted == []
    await Until().true(lambda: case.noted == ["told 1"])


async def test_a_bug_in_one_read_takes_nothing_from_the_others():
    """It is told to the loop, and everybody else is read and told."""
    case, complaints = Case(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, it: complaints.append(it))
    for data in (b"1", b"bug", b"2"):
        case.turn.read(case, data)
    await Until().true(lambda: case.noted[-1:] == ["told 2"])
    assert case.noted == ["read 1", "told 1", "read 2", "told 2"]
    assert len(complaints) == 1


def test_nobody_is_kept_waiting_by_nothing():
    """A turn without anything ends at once."""
    case = Case()
    case.turn.end()
    assert case.noted == []
