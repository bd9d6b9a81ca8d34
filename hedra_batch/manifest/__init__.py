"""A manifest, from its YAML text to the jobs that it asks for; nothing here knows the API or the ledger."""
