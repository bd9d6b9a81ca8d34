"""What a run would do with each job, what it would cost, and how it ended. Pure; nothing here sends or writes."""
