"""Composition root: what is built once and shared, and what each role runs."""

import dataclasses

import pytest

from handlers.app.background_tasks import common_loops, edge_loops, engine_loops
from handlers.app.composition import compose
from handlers.app.setup.sockets import build_socket_contexts
from tests.handlers.app.conftest import OpenInfrastructure

pytestmark = pytest.mark.engines


async def test_parts_are_shared_not_built_twice(infrastructure: OpenInfrastructure):
    """The registry that the pipeline fills is the one that sockets, loader and recovery use."""
    services, background = compose(infrastructure())
    contexts = build_socket_contexts(services)
    assert contexts.rider.rider_registry is background.tracking.rider_registry
    assert contexts.rider.fix_pipeline is contexts.user.fix_pipeline
    order_services = {
        id(each.order_service)
        for each in (services, contexts.user, contexts.vendor, contexts.rider, contexts.ops)
    }
    assert len(order_services) == 1


async def test_a_context_has_only_its_audiences_parts(infrastructure: OpenInfrastructure):
    """No audience reaches accounts, payouts or the settings."""
    contexts = build_socket_contexts(compose(infrastructure())[0])
    for audience in ("user", "vendor", "rider", "ops"):
        names = {each.name for each in dataclasses.fields(getattr(contexts, audience))}
        assert len(names) <= 9
        assert not names & {"accounts", "sign_ins", "payouts", "settings", "statements"}


async def test_the_loops_of_all_roles_have_different_names(infrastructure: OpenInfrastructure):
    """A process of role `all` runs all of them under one supervisor, which refuses a name twice."""
    services, background = compose(infrastructure())
    loops = [
        common_loops(services, background), edge_loops(services, background),
        engine_loops(services, background),
    ]  # fmt: skip
    names = [name for each in loops for name in each]
    assert len(names) == len(set(names))
    assert "routing_engine" not in names


async def test_a_routing_engine_runs_where_it_has_a_url(infrastructure: OpenInfrastructure):
    """`ROUTER_URL` adds its loop to the edge."""
    services, background = compose(infrastructure(ROUTER_URL="http://127.0.0.1:9"))
    assert background.tracking.routing_engine is not None
    assert "routing_engine" in edge_loops(services, background)
