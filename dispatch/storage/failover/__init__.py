"""Failover: which server takes writes now, what its errors say, and how a node notices."""
