"""What people and programs read: tables, JSON lines, CSV, summaries, the live view. Nothing here decides."""
