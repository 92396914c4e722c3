"""Sessions: authentication, token revocation, rate limits, client addresses, who is connected."""
