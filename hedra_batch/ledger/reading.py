"""Reading a ledger from outside a run, whatever its home."""

from __future__ import annotations

from hedra_batch.ledger.sqlite.queries import LedgerReader, Results, open_reader

__all__ = ["LedgerReader", "Results", "open_reader"]
