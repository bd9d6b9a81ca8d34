"""Which addresses belong to the public internet, and sockets for those only."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import aiohttp

#: All that was ever given out to hosts of the public internet (RFC 4291, 2.4).
_GLOBAL_UNICAST = IPv6Network("2000::/3")
#: IPv4 behind a translator (RFC 6052): how a machine without IPv4 reaches most hosts.
_NAT64 = IPv6Network("64:ff9b::/96")


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
