"""Which address a key may be sent to, and which belong to the public internet or are allowed beside it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import aiohttp
from yarl import URL

from hedra_batch.errors import ConfigurationError

_ADVICE = "Nothing was sent. Check --base-url, or HEDRA_BASE_URL."
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
#: All that was ever given out to hosts of the public internet (RFC 4291, 2.4).
_GLOBAL_UNICAST = IPv6Network("2000::/3")
#: IPv4 behind a translator (RFC 6052): how a machine without IPv4 reaches most hosts.
_NAT64 = IPv6Network("64:ff9b::/96")


#: Networks that proxies and VPNs take fake addresses from, or lead to.
_PRIVATE_NETWORKS = tuple(
    ip_network(text)
    for text in (
        *("198.18.0.0/15", "100.64.0.0/10", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "240.0.0.0/4"),
        "fc00::/7",
    )
)
MEDIA_NETWORKS_VARIABLE = "HEDRA_MEDIA_NETWORKS"

Network = IPv4Network | IPv6Network


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read networks that stand with commas between them. Raises ConfigurationError."""
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",")) if text.strip() else ()
    except ValueError as error:
        raise ConfigurationError(
            f"{MEDIA_NETWORKS_VARIABLE}: {text!r} is no list of networks. Nothing was sent. Write each as its first "
            f"address and its length, with commas between them: {MEDIA_NETWORKS_VARIABLE}=198.18.0.0/15,100.64.0.0/10"
        ) from error


def check_base_url(base_url: str) -> str:
    """Return the address without a trailing slash.

    Raises ConfigurationError unless it is https, or http to loopback.
    """
    # What stands before an '@' can be a password.
    address = "The API's address" if "@" in base_url else f"The API's address {base_url!r}"
    try:
        url = URL(base_url)
    except ValueError as error:
        raise ConfigurationError(f"{address} is not valid. {_ADVICE}") from error
    if url.user or url.password or url.query_string or url.fragment:
        raise ConfigurationError(f"{address} may have no user, no password, no '?' and no '#'. {_ADVICE}")
    if not url.host or not (url.scheme == "https" or (url.scheme == "http" and url.host in _LOOPBACK)):
        raise ConfigurationError(
            f"{address} does not begin with https://. The key is sent to no other, but for http:// on this machine. "
            f"{_ADVICE}"
        )
    return str(url).rstrip("/")


def is_loopback(base_url: str) -> bool:
    """Tell whether the API is on this machine, as a simulated one is."""
    return URL(base_url).host in _LOOPBACK


class PrivateAddressError(OSError):
    """The address is not one of the public internet; `network` is the private one that it is of, if that is known."""

    network: Network | None = None


class SocketFactory:
    """Makes sockets for addresses that are about to be connected to, if those are public or allowed."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = allowed

    def __call__(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Make a socket. Raises PrivateAddressError."""
        family, kind, protocol, _, address = info
        host = str(address[0])
        if not is_public(host) and not find_network(host, self._allowed):
            # Always in the same words: of several addresses of one name, those that fail alike are told as one.
            error = PrivateAddressError("a private address")
            error.network = find_network(host, _PRIVATE_NETWORKS)
            raise error
        return socket.socket(family, kind, protocol)


def find_network(address: str, networks: Sequence[Network]) -> Network | None:
    """Find the network that an address is of."""
    parsed = _parse(address)
    return next((network for network in networks if parsed is not None and parsed in network), None)


def is_public(address: str) -> bool:
    """Tell whether an address belongs to the public internet; what is not in its usual spelling does not."""
    parsed = _parse(address)
    if parsed is None:
        return False
    if isinstance(parsed, IPv6Address):
        return parsed in _GLOBAL_UNICAST and parsed.is_global
    return parsed.is_global and not parsed.is_multicast


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    """Read an address in its usual spelling, as the one that packets to it end at."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return (_find_embedded(parsed) or parsed) if isinstance(parsed, IPv6Address) else parsed


def _find_embedded(address: IPv6Address) -> IPv4Address | None:
    """Find the IPv4 address that packets to this one end at."""
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour
