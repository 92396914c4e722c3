"""Work of the one live engine of a zone: lease, tick, reconciliation, timeouts, archiving."""
