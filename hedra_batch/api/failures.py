"""Why a connection failed, in plain words, for requests to the API and for downloads alike."""

from __future__ import annotations

import errno
import os
import re
import ssl

import aiohttp

_CUT = "the connection was cut"
_NO_NETWORK = "there is no network"
_UNREADABLE = "the answer cannot be read"

#: The first of these codes counts: where a name has several addresses, each has failed in its own way.
_BY_CODE = {
    errno.ECONNREFUSED: "connection refused",
    errno.ETIMEDOUT: "timed out",
    errno.EHOSTUNREACH: "the host cannot be reached",
    errno.ENETUNREACH: _NO_NETWORK,
    errno.ENETDOWN: _NO_NETWORK,
    **dict.fromkeys((errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE), _CUT),
}
_BY_KIND: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "timed out"),
    (aiohttp.InvalidURL, "the address is not valid"),
    (aiohttp.ServerDisconnectedError, _CUT),
    (aiohttp.ClientPayloadError, _CUT),
    (ConnectionError, _CUT),
    (aiohttp.ClientResponseError, _UNREADABLE),
    (aiohttp.http.HttpProcessingError, _UNREADABLE),
    (ValueError, _UNREADABLE),
)
#: What OpenSSL says of a server that answers in plain text.
_NOT_HTTPS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})
#: Verdicts of OpenSSL on a certificate.
_EXPIRED = 10
_FOR_ANOTHER_HOST = (62, 64)


def describe_failure(error: Exception) -> str:
    """Say what went wrong, as the end of a sentence. The error's own text stays out: it can hold a key or a link."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host's name cannot be found (is there a network?)"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _describe_certificate(error.certificate_error)
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ssl.SSLError):
        return (
            "it does not speak https"
            if getattr(cause, "reason", None) in _NOT_HTTPS
            else "no secure connection could be made"
        )
    if codes := _list_codes(cause):
        return next((words for code, words in _BY_CODE.items() if code in codes), os.strerror(codes[0]).lower())
    return next((words for kind, words in _BY_KIND if isinstance(cause, kind)), "the connection failed")


def _describe_certificate(error: Exception) -> str:
    code = getattr(error, "verify_code", None)
    if code == _EXPIRED:
        return "its certificate has expired, or the clock of this machine is wrong"
    if code in _FOR_ANOTHER_HOST:
        return "its certificate is for another host"
    return "its certificate is not trusted"


def _list_codes(error: Exception) -> list[int]:
    if not isinstance(error, OSError):
        return []
    # Of several addresses of one name only the text has the codes.
    return [error.errno] if error.errno else [int(code) for code in re.findall(r"\[Errno (\d+)\]", str(error))]
