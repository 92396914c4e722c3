"""The figures of the bench of connecting sockets."""

from bench.common.peers import LoadSize
from bench.connect import figures_of


def test_the_open_loop_is_not_counted_as_connecting():
    """The CPU of the open loop is taken from all that the server used."""
    measured = {
        "conn_s": 2.0, "cpu_s": 3.5, "cpu": 0.25, "rss_per_conn_kb": 12.0, "relayed/s": 400.0,
        "p50": 1.0, "p99": 3.0,
    }  # fmt: skip
    figures = figures_of(measured, LoadSize(pairs=500, seconds=6.0, rate=0.4))
    assert figures["connect_cpu_ms"] == 2.0
    assert figures["cpu_us_per_fix"] == 625.0
    assert (figures["connect_s"], figures["kb_per_socket"], figures["p99_ms"]) == (2.0, 12.0, 3.0)
