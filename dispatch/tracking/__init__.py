"""A fix's way: intake checks, the drain to Redis, and the watchers."""
