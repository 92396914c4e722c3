"""HTTP endpoints: one module per subject, each with its context, handlers and routes."""
