"""`python -m city`: the demo with its options."""

import sys

import click

from city.demo.runner import DemoOptions, InvalidOptions, run

DEFAULTS = DemoOptions()


@click.command()
@click.option("--riders", default=DEFAULTS.riders, show_default=True, help="Riders on the road.")
@click.option("--vendors", default=DEFAULTS.vendors, show_default=True, help="Shops.")
@click.option("--customers", default=DEFAULTS.customers, show_default=True, help="Customers.")
@click.option(
    "--orders-per-minute",
    default=DEFAULTS.orders_per_minute,
    show_default=True,
    help="How hungry the city is.",
)
@click.option("--seed", default=DEFAULTS.seed, show_default=True, help="The city's luck.")
@click.option("--duration", type=float, default=None, help="Stop after so many seconds.")
@click.option(
    "--port",
    default=DEFAULTS.port,
    envvar="PORT",
    show_envvar=True,
    show_default=True,
    help="The server's port.",
)
@click.option("--no-server", is_flag=True, help="Use a server that runs on --port already.")
@click.option("--url", default=None, help="Use the server that runs at this address.")
@click.option(
    "--time-scale",
    default=DEFAULTS.time_scale,
    show_default=True,
    help="Seconds on the road in one of the clock; speeds stay below 20 m/s.",
)
@click.option("--json", "is_json", is_flag=True, help="Sum up as one JSON line on stdout.")
def main(
    *, duration: float | None, no_server: bool, url: str | None, port: int, **options: object
) -> None:
    """Run a simulated Douala on a server of its own until Ctrl-C; exit 0 if the ledger balances."""
    if no_server and url is None:
        url = f"http://127.0.0.1:{port}"
    try:
        wanted = DemoOptions(duration_s=duration, url=url, port=port, **options)  # pyright: ignore[reportArgumentType]
        sys.exit(run(wanted))
    except InvalidOptions as error:
        raise click.UsageError(str(error)) from error


if __name__ == "__main__":
    main()
