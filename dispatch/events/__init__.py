"""Events: outbox and relay, inboxes, idempotency records, alerts, operations board, audit."""
