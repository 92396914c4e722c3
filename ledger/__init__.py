"""Double-entry ledger for all money: pure rules, records, posting, reporting, DynamoDB access."""
