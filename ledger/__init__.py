"""Money in double entry; knows no sockets and no dispatch."""
