"""Request bodies of the HTTP endpoints."""
