"""Socket.IO: the command gate, one module per audience, and the delivery of events."""
