"""Redis and DynamoDB stores of tracking: geo index, positions, trails, learned speeds."""
