"""What of a request tells who sent it: address, token, proofs, and a proxy's word of a certificate.

    address       METERKEEP_PUBLIC_URL and the path as it was asked: what ``Host`` says is the
                  caller's to choose
    certificate   the header `Client-Cert` (RFC 9440), heard only where the TCP peer is one of
                  METERKEEP_TRUSTED_PROXIES; from anybody else it is as if it were not there

A proxy that is trusted must take the header out of what callers send: it is its word.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from service.identity import Sent
from store.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request

HEADER = "client-cert"
_BYTES = re.compile(r":([A-Za-z0-9+/]{1,10900}={0,2}):\Z")  # RFC 8941, section 3.3.5


class Arriving:
    """Reads requests to one public address.

    Attributes:
        hears_certificates: Whether any proxy is trusted with them.
    """

    def __init__(self, public_url: str, proxies: Sequence[str]) -> None:
        self._url = public_url
        try:
            self._proxies = tuple(ip_network(proxy) for proxy in proxies)
        except ValueError:
            raise InputError(
                "METERKEEP_TRUSTED_PROXIES is a list of networks: 10.0.0.0/24", code="bad_setting"
            ) from None
        self.hears_certificates = bool(self._proxies)

    def sent(self, request: Request) -> Sent:
        """Return what ``request`` tells of its sender; nothing of it is believed yet."""
        scope = request.scope
        told: dict[bytes, list[str]] = {b"authorization": [], b"dpop": []}
        for name, value in scope["headers"]:  # their names are in lower case, says ASGI
            if name in told:
                told[name].append(value.decode("latin-1"))
        path = scope.get("raw_path") or b""
        return Sent(
            scope["method"],
            self._url + path.decode("latin-1"),
            tuple(told[b"authorization"]),
            tuple(told[b"dpop"]),
            self._certificate(request) if self._proxies else None,
        )

    def address(self, request: Request) -> str:
        """Return the address of the caller; empty where only a proxy's is known."""
        peer = "" if request.client is None else request.client.host
        return "" if self._trusts(peer) else peer

    def _certificate(self, request: Request) -> str | None:
        told = request.headers.getlist(HEADER)
        if len(told) != 1 or request.client is None or not self._trusts(request.client.host):
            return None
        found = _BYTES.match(told[0])
        try:
            der = base64.b64decode(found[1], validate=True) if found else b""
        except binascii.Error:
            return None
        digest = base64.urlsafe_b64encode(sha256(der).digest()).rstrip(b"=").decode()
        return digest if der else None

    def _trusts(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:  # a Unix socket has no address
            return False
        # An IPv4 caller of an IPv6 socket is written ::ffff:10.0.0.7.
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._proxies)
