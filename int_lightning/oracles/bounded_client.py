"""The HTTP client behind a chat server: what comes back is bounded, and comes from the address that was asked."""

from __future__ import annotations

from typing import Any

import openai


class RequestError(Exception):
    """A request without an answer: whether to repeat it, and the pause in seconds that the server asks for."""

    def __init__(self, reason: str, again: bool = True, pause: float | None = None) -> None:
        super().__init__(reason)
        self.again = again
        self.pause = pause


class TooLongError(RequestError):
    """An answer of more than the bytes that were read of it, which are not kept."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"an answer of more than {most_bytes:,} bytes", again=False)


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """Reads so many bytes of a response and no more, and follows no redirect: problems and references go nowhere else.

    Args:
        most_bytes: Of a response's body, an error's too.
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
        # as JSON is encoded, whatever charset the server names: some of Python's codecs decompress
        headers = {**response.headers, "content-type": "application/json"}
        return type(response)(response.status_code, headers=headers, content=bytes(body), request=request)
