"""The steps of an attempt, each from one state to the next: upload, submit, reconcile, track, fetch."""
