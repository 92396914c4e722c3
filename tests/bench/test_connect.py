"""What a load has told, as the figures of a connect and of a fix."""

from bench.common.peers import LoadSize
from bench.connect import _figures


def test_working_is_not_counted_as_connecting():
    """The CPU of the open loop is taken out of what the server has used in all."""
    told = {
        "conn_s": 2.0, "cpu_s": 3.5, "cpu": 0.25, "rss_per_conn_kb": 12.0, "relayed/s": 400.0,
        "p50": 1.0, "p99": 3.0,
    }  # fmt: skip
    named = _figures(told, LoadSize(pairs=500, seconds=6.0, rate=0.4))
    assert named["connect_cpu_ms"] == 2.0
    assert named["cpu_us_per_fix"] == 625.0
    assert (named["connect_s"], named["kb_per_socket"], named["p99_ms"]) == (2.0, 12.0, 3.0)
