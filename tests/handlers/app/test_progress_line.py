"""Progress line: rewritten on a terminal, separate lines in a log, and never too many of them."""

import io
import sys

import pytest

from dispatch.clock import ManualClock
from handlers.app.progress_line import LOG_EVERY_S, REDRAW_EVERY_S, ProgressLine


class Terminal(io.StringIO):
    """A text stream that is a terminal, or says that it is none."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


def show_for(seconds: int, stream: Terminal, patch: pytest.MonkeyPatch) -> str:
    """What is printed by a count that is shown every 50 ms, and then finished."""
    patch.setattr(sys, "stderr", stream)
    clock = ManualClock()
    progress = ProgressLine(clock.monotonic_s)
    for _ in range(seconds * 20):
        clock.advance(50)
        progress.show(lambda: "n lines")
    progress.finish(lambda: "all lines")
    return stream.getvalue()


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch):
    """Without a terminal each state is a line of its own, one in LOG_EVERY_S, and the last one."""
    seconds = int(LOG_EVERY_S * 3)
    text = show_for(seconds, Terminal(is_terminal=False), monkeypatch)
    assert text == "n lines\n" * 3 + "all lines\n"


def test_a_terminal_keeps_one_line(monkeypatch: pytest.MonkeyPatch):
    """On a terminal the line is rewritten in place, and ends with the final state."""
    text = show_for(1, Terminal(is_terminal=True), monkeypatch)
    states = text.split("\r")
    assert states[0] == ""
    assert states[-1] == "all lines\x1b[K\n"
    assert text.count("\n") == 1
    assert len(states) - 2 <= 1 / REDRAW_EVERY_S
