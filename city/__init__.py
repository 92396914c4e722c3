"""Simulated city: vendors, customers and riders as clients of the server's public interface."""
