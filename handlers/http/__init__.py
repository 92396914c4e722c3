"""The HTTP endpoints beside the sockets, one file per subject."""
