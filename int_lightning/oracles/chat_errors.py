"""What a chat server's error means: the user's mistake, or a failure that may pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import openai

from int_lightning.oracles.bounded_client import RequestError
from int_lightning.oracles.hidden_key import key_in
from int_lightning.types import UserError

_REMEDIES = {
    "seed": "set `seeded` to false; answers then cannot be reproduced",
    "temperature": "change `sampling.temperature`",
    "top_p": "change `sampling.top_p`",
    "top_k": "set `sampling.top_k` to 0",
    "response_format": "set `structured` to false",
}


def refusal(
    error: openai.APIStatusError, short: Callable[[object], str], base_url: str, model: str, api_key_env: str
) -> Exception:
    """The user's mistake where the key, the model or a field is refused; otherwise a failure, which may pass.

    Args:
        error: What came back.
        short: Makes one line of what a server says, without its key.
        base_url: The server's address.
        model: The model that was asked.
        api_key_env: Name of the environment variable that holds the key.
    """
    status, said = error.status_code, short(_said(error))
    if status < 400:
        there = short(error.response.headers.get("location", "another address"))
        return RequestError(
            f"HTTP {status}", f"it refers to {there}, where nothing is sent: name it as base_url", again=False
        )
    if status in (401, 403):
        state = "is not the right one" if key_in(api_key_env) else "is not set"
        return UserError(
            f"{base_url} refuses access to model {model!r} (HTTP {status}): the key in the environment variable {api_key_env} "
            f"{state}"
        )
    if status == 404:
        return UserError(
            f"{base_url} has no model {model!r} (HTTP 404: {said}): check `model`, and `base_url`, which ends in /v1 on most "
            f"servers; the key is that of the environment variable {api_key_env}"
        )
    if status in (400, 422) and (field := _refused_field(error, said)):
        return UserError(
            f"{base_url} refuses the field {field!r} of a request to model {model!r} (HTTP {status}: {said}): "
            f"{_REMEDIES[field]}"
        )
    again = status in (408, 409, 429) or status >= 500
    return RequestError(f"HTTP {status}", said, again, retry_after(error.response.headers))


def may_refuse(error: openai.APIStatusError, fields: Collection[str]) -> bool:
    """Whether a request may have been refused for one of these fields: none is named, or one of them."""
    return error.status_code in (400, 422) and _refused_field(error, str(_said(error))) in ("", *fields)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The pause in seconds that a ``Retry-After`` header asks for, in seconds or as a date; None if it does not ask."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return seconds if seconds >= 0 else None


def _said(error: openai.APIStatusError) -> object:
    body = error.body
    return (body.get("message") or body.get("detail") or body) if isinstance(body, dict) else error.response.text


def _refused_field(error: openai.APIStatusError, said: str) -> str:
    """The field that an error names, as its parameter or in quotes."""
    named = str(error.param).removeprefix("body.")
    for field in _REMEDIES:
        if field == named or re.search(rf"['\"`]{field}['\"`]", said):
            return field
    return ""
