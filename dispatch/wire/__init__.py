"""What may be said over a socket: commands in, events out, acks back."""
