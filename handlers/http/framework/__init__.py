"""HTTP framework: envelope, paging, idempotency, API documents, health probes, console files."""
