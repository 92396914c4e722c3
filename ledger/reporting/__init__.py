"""Reading the ledger: audit, statements, history."""
