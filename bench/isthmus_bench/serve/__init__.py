"""`isthmus bench serve`: many devices on one service, beside a bare loop and other servers."""
