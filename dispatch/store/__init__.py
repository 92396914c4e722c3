"""The stores: everything that speaks Redis, and the orders' part of DynamoDB."""
