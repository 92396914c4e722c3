"""A simulated city: vendors, customers and riders who use the public interface like any app."""
