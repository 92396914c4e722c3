"""Reading the books: audit, statements, history."""
