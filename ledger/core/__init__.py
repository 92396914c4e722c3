"""Pure double-entry rules: amounts, prices, accounts, facts, journal entries, cancellation."""
