"""Sessions: authentication, token revocation, rate limits, client addresses, connected sockets."""
