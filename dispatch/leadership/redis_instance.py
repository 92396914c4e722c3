"""Redis instance id: a random value in Redis that shows when Redis has been emptied."""

import uuid_utils

from dispatch import keys
from dispatch.storage.redis_client import RedisClients, translate_redis_errors


class RedisInstance:
    """Reads the instance id, and sets one where there is none."""

    def __init__(self, clients: RedisClients) -> None:
        self._redis = clients.commands

    async def read_id(self) -> str:
        """The instance id; another one than before means that Redis was emptied or replaced.

        Redis: SET NX and GET in one transaction, one round trip; every node reads the same id.
        Errors: StoreUnavailable.
        """
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(keys.redis_instance(), uuid_utils.uuid7().hex, nx=True)
                pipe.get(keys.redis_instance())
                _, instance_id = await pipe.execute()
        return instance_id.decode()
