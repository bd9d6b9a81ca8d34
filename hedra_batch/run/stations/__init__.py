"""The steps of an attempt, each from one state to the next: reserve, submit, reconcile, track, fetch."""
