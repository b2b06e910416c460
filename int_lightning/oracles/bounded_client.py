"""The HTTP client behind a chat client: what comes back is bounded, and comes from the address that was asked."""

from __future__ import annotations

from typing import Any

import openai


class RequestError(Exception):
    """A request without an answer.

    Args:
        kind: What failed; the first failure of each kind is shown.
        detail: What was said of it, "" where the kind says it all.
        again: Whether to repeat the request.
        pause: Seconds to wait before that, as the server asks; None where it does not.
    """

    def __init__(self, kind: str, detail: str = "", again: bool = True, pause: float | None = None) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.again = again
        self.pause = pause


class TooLongError(RequestError):
    """An answer that is longer than the bytes that were read of it, which are not kept."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"an answer of more than {most_bytes:,} bytes", again=False)


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """Reads a limited number of bytes of a response and follows no redirect: problems and references go nowhere else.

    Args:
        most_bytes: Longest body of a response, that of an error included.
    """

    def __init__(self, most_bytes: int) -> None:
        super().__init__(headers={"accept-encoding": "identity"})
        self._most_bytes = most_bytes

    async def send(self, request: Any, **options: Any) -> Any:
        """See ``AsyncClient.send``.

        Raises:
            RequestError: if the body is longer, or compressed, so that its length cannot be told.
        """
        response = await super().send(request, **(options | {"stream": True, "follow_redirects": False}))
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise RequestError("its answer is compressed, which was not asked for", again=False)
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._most_bytes:
                    raise TooLongError(self._most_bytes)
        finally:
            await response.aclose()
        # Read as JSON is encoded, whatever charset the server names: some of Python's codecs decompress.
        headers = {**response.headers, "content-type": "application/json"}
        return type(response)(response.status_code, headers=headers, content=bytes(body), request=request)
