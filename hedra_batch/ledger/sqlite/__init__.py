"""The ledger's home in one SQLite file: nothing else of the program knows SQL."""
