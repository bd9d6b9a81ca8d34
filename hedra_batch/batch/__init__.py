"""A batch without a terminal: opened, planned, priced, run, fetched and abandoned from Python.

Nothing here prints, asks, exits, heeds signals or sets up logging. Cancelling the task that runs a batch stops it.
"""
