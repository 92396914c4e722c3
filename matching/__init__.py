"""Matching of riders and orders: numbers in, a plan out; no Redis, no clock, no sockets."""
