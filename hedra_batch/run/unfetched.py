"""When so many results cannot be fetched for one reason that buying more would be money for nothing. Pure."""

from __future__ import annotations

from collections import defaultdict

from hedra_batch.errors import NothingFetchedError, Obstacle
from hedra_batch.ledger.records import JobIdentity

#: Different jobs in a row whose results meet the same obstacle, before nothing more is bought.
UNFETCHED_LIMIT = 3

_CHECKS = {
    Obstacle.NAME: "Check the network and its name server",
    Obstacle.ADDRESS: (
        "If a proxy or VPN gives fake addresses, turn it off, or allow their network with HEDRA_MEDIA_NETWORKS"
    ),
    Obstacle.CERTIFICATE: "Check the clock of this machine, and whether a proxy opens secure connections",
    Obstacle.PROXY: "Log in to the network or the proxy",
    Obstacle.CONNECTION: "Check the network and its firewall",
    Obstacle.CUT: "Check the network, its firewall, and whether a proxy or VPN cuts connections",
    Obstacle.PAGE: "Log in to the network or the proxy, or check what stands before the media host",
    Obstacle.REDIRECT: "Check what stands before the media host, or wait until it answers again",
    Obstacle.LENGTH: "Check what stands before the media host, such as a proxy",
    Obstacle.SILENCE: "Check the network and its firewall, or wait until the media host answers again",
    Obstacle.REFUSAL: "Check the clock of this machine, and whether a proxy or firewall forbids the media host",
    Obstacle.OUTAGE: "Wait until the media host answers again",
}


class UnfetchedCount:
    """Counts the jobs whose results cannot be fetched, by what they met, since one was fetched."""

    def __init__(self) -> None:
        self._jobs: defaultdict[Obstacle, set[JobIdentity]] = defaultdict(set)
        self._has_told = False

    def on_fetched(self) -> None:
        self._jobs.clear()

    def on_unfetched(self, job: JobIdentity, obstacle: Obstacle | None) -> NothingFetchedError | None:
        """Return, once, the reason to buy nothing more. What is one file's own neither counts nor ends a row."""
        if obstacle is None or self._has_told:
            return None
        jobs = self._jobs[obstacle]
        jobs.add(job)
        if len(jobs) < UNFETCHED_LIMIT:
            return None
        self._has_told = True
        return NothingFetchedError(
            f"{len(jobs)} finished videos in a row could not be fetched: {obstacle}. Nothing more is bought in this "
            f"run. {_CHECKS[obstacle]}. What is bought stays at the server, and the next run fetches it at no cost."
        )
