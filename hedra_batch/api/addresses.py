"""Which address a key may be sent to, and which belong to the public internet, with sockets for those only."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import aiohttp
from yarl import URL

from hedra_batch.errors import ConfigurationError

_ADVICE = "Nothing was sent. Check --base-url, or HEDRA_BASE_URL."
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
#: All that was ever given out to hosts of the public internet (RFC 4291, 2.4).
_GLOBAL_UNICAST = IPv6Network("2000::/3")
#: IPv4 behind a translator (RFC 6052): how a machine without IPv4 reaches most hosts.
_NAT64 = IPv6Network("64:ff9b::/96")


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
    """The address is not one of the public internet."""


def open_public_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """Make a socket for an address that is about to be connected to. Raises PrivateAddressError."""
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise PrivateAddressError("a private address")
    return socket.socket(family, kind, protocol)


def is_public(address: str) -> bool:
    """Tell whether an address belongs to the public internet; what is not in its usual spelling does not."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        parsed = _find_embedded(parsed) or parsed
    if isinstance(parsed, IPv6Address):
        return parsed in _GLOBAL_UNICAST and parsed.is_global
    return parsed.is_global and not parsed.is_multicast


def _find_embedded(address: IPv6Address) -> IPv4Address | None:
    """Find the IPv4 address that packets to this one end at."""
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour
