"""Pure double-entry rules: money, prices, accounts, entries, plans, cancellation terms."""
