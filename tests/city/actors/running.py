"""Runs actors of the simulated city until something holds."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from city.actors.city import City
from city.actors.population import Population, PopulationSize
from tests.waiting import Until

# Far above what any of these takes, also on a busy machine.
WAIT_S = 60
UNTIL = Until()
SMALL = PopulationSize(riders=6, vendors=3, customers=6, orders_per_minute=600)


@asynccontextmanager
async def running(actor: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run an actor inside the block, which must end in time."""
    task = asyncio.create_task(actor)
    try:
        async with asyncio.timeout(WAIT_S):
            yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after WAIT_S."""
    await UNTIL.true(condition, WAIT_S)


async def run_city_until(
    city: City, condition: Callable[[], bool], size: PopulationSize = SMALL
) -> None:
    """Run a population until a condition holds; no actor may crash."""
    population = Population(city, size)
    async with running(population.run()):
        await wait_until(condition)
    assert population.crashes == []
