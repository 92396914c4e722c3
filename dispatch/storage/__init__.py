"""Redis and DynamoDB mechanics without business rules: clients, pipelines, pub/sub, leases."""
