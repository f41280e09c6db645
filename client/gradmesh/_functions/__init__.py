"""The functions users call, by topic: each checks its arguments and records one op of the table."""
