"""Posting: one fact becomes one entry in one DynamoDB transaction."""
