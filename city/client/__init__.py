"""Clients of the public contract: Socket.IO, HTTP, tokens."""
