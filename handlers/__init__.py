"""The edge: sockets and HTTP in, commands out; no business rules."""
