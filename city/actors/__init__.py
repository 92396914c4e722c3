"""The simulated people: riders, customers, vendors, the operator."""
