"""Addresses of servers."""

from __future__ import annotations

from urllib.parse import urlsplit

from int_lightning.types import UserError


def plain_address(url: str, key: str) -> str:
    """The address of a server, without a trailing slash; it must not hold a secret.

    Args:
        url: The address.
        key: The setting that it was given in.

    Raises:
        UserError: if it is not an address, or if it holds a name, a password or a query.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"{key} is not an http(s) address: give one such as http://localhost:8000/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UserError(
            f"{key} of {parts.hostname} holds a name, password or query: give the bare address, and the key in the environment"
        )
    return url.rstrip("/")
