"""Which Redis this is: a mark that goes with everything else when Redis is emptied."""

import uuid_utils

from dispatch import keys
from dispatch.storage.redis_client import RedisClients, translate_redis_errors


class RedisInstance:
    """Reads the mark, and sets one where there is none."""

    def __init__(self, clients: RedisClients) -> None:
        self._redis = clients.commands

    async def read_id(self) -> str:
        """The mark of the Redis we speak to now; another one says that it was emptied meanwhile.

        Redis: SET NX and GET, one round trip; every node reads the same mark.
        """
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(keys.redis_instance(), uuid_utils.uuid7().hex, nx=True)
                pipe.get(keys.redis_instance())
                _, mark = await pipe.execute()
        return mark.decode()
