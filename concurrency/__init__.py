"""Asyncio helpers without business knowledge: request batching, backoff, wake-up signals."""
