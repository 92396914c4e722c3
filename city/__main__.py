"""Command line of the demo: `python -m city`."""

import sys

import click

from city.demo.runner import DemoOptions, InvalidOptions, run

DEFAULTS = DemoOptions()


@click.command()
@click.option("--riders", default=DEFAULTS.riders, show_default=True, help="Number of riders.")
@click.option("--vendors", default=DEFAULTS.vendors, show_default=True, help="Number of shops.")
@click.option(
    "--customers", default=DEFAULTS.customers, show_default=True, help="Number of customers."
)
@click.option(
    "--orders-per-minute",
    default=DEFAULTS.orders_per_minute,
    show_default=True,
    help="Rate of new orders.",
)
@click.option(
    "--seed",
    default=DEFAULTS.seed,
    show_default=True,
    help="Seed of everything random in the city.",
)
@click.option("--duration", type=float, default=None, help="Stop after this many seconds.")
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
@click.option(
    "--time-scale",
    default=DEFAULTS.time_scale,
    show_default=True,
    help="Simulated seconds in one real second; speeds in fixes stay below 20 m/s.",
)
@click.option(
    "--json", "is_json", is_flag=True, help="Print the summary as one JSON line on stdout."
)
def main(
    *, duration: float | None, no_server: bool, url: str | None, port: int, **options: object
) -> None:
    """Run a simulated Douala on a server of its own until Ctrl-C; exit 0 if the ledger balances."""
    if no_server and url is None:
        url = f"http://127.0.0.1:{port}"
    try:
        demo_options = DemoOptions(duration_s=duration, url=url, port=port, **options)  # pyright: ignore[reportArgumentType]
        sys.exit(run(demo_options))
    except InvalidOptions as error:
        raise click.UsageError(str(error)) from error


if __name__ == "__main__":
    main()
