"""WebSocket protocol: RFC 6455 frames, the opening handshake, and reading in batches."""
