"""Small asyncio helpers that know nothing of the product: batching, backoff, wake-up signals."""
