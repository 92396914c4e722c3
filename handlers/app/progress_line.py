"""Progress line of a command: rewritten in place on a terminal, printed now and then elsewhere."""

import sys
from collections.abc import Callable

import click

# Without a terminal, as in a log, a line is printed this often. Source: chosen.
LOG_EVERY_S = 10.0
# On a terminal the line is rewritten this often. Source: chosen; reading needs no more.
REDRAW_EVERY_S = 0.1


class ProgressLine:
    """Shows how far a command is, on stderr. Units: `monotonic_s` in seconds."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._is_terminal = sys.stderr.isatty()
        self._shown_s = monotonic_s()

    def show(self, describe: Callable[[], str]) -> None:
        """Show the present state, if the last one has been shown for long enough."""
        now_s = self._monotonic_s()
        if now_s - self._shown_s < (REDRAW_EVERY_S if self._is_terminal else LOG_EVERY_S):
            return
        self._shown_s = now_s
        self._print(describe(), is_last=False)

    def finish(self, describe: Callable[[], str]) -> None:
        """Show the final state."""
        self._print(describe(), is_last=True)

    def _print(self, text: str, *, is_last: bool) -> None:
        if self._is_terminal:
            # The rest of a longer line before is erased. Source: ECMA-48, EL.
            click.echo(f"\r{text}\x1b[K", err=True, nl=is_last)
        else:
            click.echo(text, err=True)
