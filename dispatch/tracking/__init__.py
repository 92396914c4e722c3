"""Tracking: fix pipeline, watchers, Redis writer, tracking policy, ETA, trails, and their stores.

A fix passes: handlers.sockets.rider -> fix_pipeline (checks -> watchers on this node -> tracking
policy) -> redis_writer -> stores.positions -> watchers on other nodes.
"""
