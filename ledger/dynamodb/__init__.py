"""The DynamoDB port, its client, schema and encodings."""
