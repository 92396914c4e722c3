"""The stores' tests run on one Redis, and once more on a cluster of three."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dispatch.store.embedded import Endpoints
from tests.stores.cluster import cluster

# Modules whose tests ask for nothing that a cluster has not, but for some: what they do to the one
# server is done to a cluster in test_cluster.
ON_CLUSTER = frozenset(
    {
        "test_bulk",
        "test_feeds",
        "test_inbox",
        "test_leases",
        "test_paces",
        "test_positions",
        "test_quotas",
        "test_timers",
        "test_visits",
    }
)
ON_ONE_ONLY = frozenset(
    {
        "test_a_connection_that_redis_closed_between_two_calls",
        "test_a_full_redis_is_away",
        "test_callers_one_after_the_other_share_a_connection",
        "test_a_cut_connection_is_mended_and_told",
        "test_other_nodes_hear_a_position",
    }
)
BOTH = ["one", pytest.param("cluster", marks=pytest.mark.slow)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let each of these tests run twice."""
    name = metafunc.module.__name__.rpartition(".")[2]
    is_for_both = name in ON_CLUSTER and metafunc.function.__name__ not in ON_ONE_ONLY
    if is_for_both and "redis_url" in metafunc.fixturenames:
        metafunc.parametrize("redis_url", BOTH, indirect=True, scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where the worker's cluster is."""
    async with cluster(tmp_path_factory.mktemp("cluster")) as shards:
        yield shards.url


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """Where the worker's Redis is, of the kind that the test asks for."""
    if getattr(request, "param", "one") == "cluster":
        return request.getfixturevalue("cluster_url")
    engines: Endpoints = request.getfixturevalue("engines")
    return engines.redis_url
