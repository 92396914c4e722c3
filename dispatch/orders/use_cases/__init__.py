"""Use cases of orders: load, decide and commit, by subject."""
