"""Request bodies of the HTTP endpoints: one module per subject, one struct per body."""
