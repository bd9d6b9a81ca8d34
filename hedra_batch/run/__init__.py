"""Carries out a plan: the runner, the stations of an attempt, and their pacing."""
