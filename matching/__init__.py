"""Who carries what: facts in, pairs out; no Redis, no clock, no sockets."""
