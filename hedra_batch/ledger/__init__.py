"""The ledger: the only SQL of the program, and the identity file beside it."""
