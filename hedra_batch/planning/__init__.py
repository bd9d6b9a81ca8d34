"""What a run would do with each job, what it would cost, and how it ended. Nothing here sends or writes."""
