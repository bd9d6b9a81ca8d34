"""The ledger's note of a time that it does not have: it was put back from a backup, moved with its folder, or lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hedra_batch.clock import Clock
from hedra_batch.ledger import attempts
from hedra_batch.ledger.backend import Tables, put
from hedra_batch.ledger.identity import Identity
from hedra_batch.ledger.records import ListedRequest, Loss, Restore


def begin(tables: Tables, identity: Identity, loss: Loss | None, clock: Clock, *, is_new: bool) -> Restore | None:
    """Read what is known of such a time, or write down a new one before the identity forgets its signs."""
    rows = tables.find("info", ("value",), {"key": "restore"})
    known = Restore.read(rows[0][0]) if rows else None
    if known is None and loss:
        # Nothing is known of the whole time since the batch was begun.
        known = Restore(loss.mark, identity.created_at or None)
    if not is_new:
        return known
    mark, since = clock.mark(), tables.reader().read_last_entry_at()
    if known and not known.is_settled:
        since = min(since, known.since) if since and known.since else None
    attempts.restart_windows(tables, mark)
    return _write(tables, Restore(mark, since, known.shown if known else {}))


def note_shown(tables: Tables, restore: Restore, shown: Mapping[str, ListedRequest], *, is_settled: bool) -> Restore:
    """Write down what the server shows of that time and no attempt has, for all later runs."""
    known = tables.reader().find_requests(sorted(shown))
    unknown = {key: echo for key, echo in shown.items() if key not in known}
    return _write(tables, replace(restore, shown={**restore.shown, **unknown}, is_settled=is_settled))


def _write(tables: Tables, restore: Restore) -> Restore:
    put(tables, "info", {"key": "restore"}, {"value": restore.write()})
    return restore
