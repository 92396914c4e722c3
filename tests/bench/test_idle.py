"""The figures of the bench of idle sockets."""

from bench.idle import figures_of


def test_both_servers_are_compared():
    """Each server has its figures; this server's are given as multiples of the peer's."""
    ours = {"conn_s": 2.0, "rss_per_conn_kb": 10.0, "cpu": 0.01}
    peer = {"conn_s": 4.0, "rss_per_conn_kb": 40.0, "cpu": 0.02}
    assert figures_of(ours, peer) == {
        "ours_connect_s": 2.0, "ours_kb_per_socket": 10.0, "ours_idle_cpu": 0.01,
        "peer_connect_s": 4.0, "peer_kb_per_socket": 40.0, "peer_idle_cpu": 0.02,
        "connect_to_peer": 0.5, "memory_to_peer": 0.25,
    }  # fmt: skip
