"""DynamoDB: the port (`table`), its client, the table's schema, encodings, and a fake for tests."""
