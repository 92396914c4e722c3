"""Command lines of the simulated city: the demo (`python -m city`), and `simulate`."""

import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from city.demo.runner import DemoOptions, InvalidOptions, run

P = ParamSpec("P")
T = TypeVar("T")
DEFAULTS = DemoOptions()
# Options of both commands, in the order of the help text.
_OPTIONS = (
    click.option("--riders", default=DEFAULTS.riders, show_default=True, help="Number of riders."),
    click.option("--vendors", default=DEFAULTS.vendors, show_default=True, help="Number of shops."),
    click.option(
        "--customers", default=DEFAULTS.customers, show_default=True, help="Number of customers."
    ),
    click.option(
        "--orders-per-minute",
        default=DEFAULTS.orders_per_minute,
        show_default=True,
        help="Rate of new orders.",
    ),
    click.option(
        "--seed",
        default=DEFAULTS.seed,
        show_default=True,
        help="Seed of everything random in the city.",
    ),
    click.option("--duration", type=float, default=None, help="Stop after this many seconds."),
    click.option(
        "--time-scale",
        default=DEFAULTS.time_scale,
        show_default=True,
        help="Simulated seconds in one real second; speeds in fixes stay below 20 m/s.",
    ),
    click.option(
        "--json", "is_json", is_flag=True, help="Print the summary as one JSON line on stdout."
    ),
)


def _with_city_options(command: Callable[P, T]) -> Callable[P, T]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@_with_city_options
@click.option(
    "--port",
    default=DEFAULTS.port,
    envvar="PORT",
    show_envvar=True,
    show_default=True,
    help="The server's port.",
)
@click.option("--no-server", is_flag=True, help="Use a server that is already running on --port.")
@click.option("--url", default=None, help="Use a server that is already running at this address.")
def main(
    *, duration: float | None, no_server: bool, url: str | None, port: int, **options: object
) -> None:
    """Run a simulated Douala on a server of its own until Ctrl-C; exit 0 if the ledger balances."""
    if no_server and url is None:
        url = f"http://127.0.0.1:{port}"
    _run(duration_s=duration, url=url, port=port, **options)


@click.command()
@_with_city_options
@click.option(
    "--url",
    default=f"http://127.0.0.1:{DEFAULTS.port}",
    show_default=True,
    help="The address of the running server.",
)
def simulate(*, duration: float | None, url: str, **options: object) -> None:
    """Run a simulated Douala against a running server; exit 0 if its ledger balances.

    Its riders, shops and customers sign their own tokens, so it needs the server's JWT_SECRET, or
    its DATA_DIR where the server runs with --dev. It places orders and moves money there.
    """
    _run(duration_s=duration, url=url, **options)


def _run(**options: object) -> None:
    try:
        sys.exit(run(DemoOptions(**options)))  # pyright: ignore[reportArgumentType]
    except InvalidOptions as error:
        raise click.UsageError(str(error)) from error


if __name__ == "__main__":
    main()
