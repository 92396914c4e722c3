"""What every HTTP endpoint stands on: envelope, paging, idempotency, API documents, health."""
