"""Leadership: lease, tick, timeouts and archiving of the leader's node, and reconciliation."""
