"""Requests to an OpenAI-compatible chat-completions server: a few at a time, repeated with growing pauses, within a budget.

The key is read from the environment when it is needed; no config, record, log or message holds it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

import openai

from int_lightning.engines.address import plain_address
from int_lightning.engines.sampling_fields import NEUTRAL
from int_lightning.oracles.answer_cache import Answer, AnswerCache
from int_lightning.oracles.bounded_client import BoundedClient, RequestError, TooLongError
from int_lightning.oracles.chat_errors import may_refuse, refusal
from int_lightning.oracles.hidden_key import hide, key_in
from int_lightning.types import Sampling, UserError

log = logging.getLogger(__name__)
SERVER_FAILED = "the server failed"
BUDGET_SPENT = "the budget is spent"
LONGEST_PAUSE = 120.0
"""Seconds between two tries of a request; a server that asks for more is not asked again in this run."""

_OVERHEAD_BYTES, _BYTES_PER_TOKEN = 2**16, 32
"""Room for an answer: no text has that many bytes a token on average, even escaped as JSON."""

_LETTERS_PER_TOKEN = 4  # of most texts


@dataclass(frozen=True)
class Budget:
    """What a run may spend; None sets no limit.

    Args:
        max_requests: Requests, repeated ones included.
        max_tokens_total: Tokens of prompts and answers as the server counts them; where its count is impossible, as estimated
            from their length. No request is made once they are spent; those under way are still paid for.
    """

    max_requests: int | None = None
    max_tokens_total: int | None = None


class ChatClient:
    """Asks one model of one server; to be entered first. For the arguments see ``ServerOracle``.

    Raises:
        UserError: for arguments out of range, and for an address with more in it than an address.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        sampling: Sampling,
        concurrency: int,
        timeout: float,
        retries: int,
        budget: Budget,
        api_key_env: str,
        answers: str | None,
    ) -> None:
        if concurrency < 1 or retries < 0 or timeout <= 0:
            raise UserError(
                f"the server oracle has concurrency {concurrency}, retries {retries}, timeout {timeout}: give at least 1, at "
                "least 0, and more than 0 seconds"
            )
        if not api_key_env.isidentifier():
            raise UserError(
                "api_key_env takes the NAME of an environment variable that holds the key, not the key itself"
            )
        self.base_url = plain_address(base_url, "base_url")
        self.model = model
        self.sampling = sampling
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self.budget = budget
        self.api_key_env = api_key_env
        self.requests = 0
        self.tokens = 0
        self._answers = AnswerCache(Path(answers) if answers else None)
        self._limit_field = "max_tokens"
        self._neutral: dict[str, Any] = NEUTRAL if sampling.top_k else NEUTRAL | {"top_k": 0}
        self._neutral_taken = False
        self._warned: set[str] = set()
        self._users = 0

    async def __aenter__(self) -> ChatClient:
        """Connects. Several users share one connection, which ends with the last of them.

        Raises:
            UserError: if the environment holds characters that no key has.
        """
        if not self._users:
            key = key_in(self.api_key_env)
            if not (key.isascii() and key.isprintable()):
                raise UserError(f"{self.api_key_env} in the environment holds characters that no key has: set it again")
            self._slots = asyncio.Semaphore(self.concurrency)
            self._client = openai.AsyncOpenAI(
                base_url=self.base_url,
                api_key=key or "none",
                max_retries=0,
                timeout=self.timeout,
                http_client=BoundedClient(self._most_bytes),
            )
        self._users += 1
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._users -= 1
        if not self._users:
            client = self._client
            del self._client, self._slots
            await client.close()

    async def ask(
        self, conversation: list[dict[str, str]], seed: int | None, response_format: dict[str, Any] | None = None
    ) -> Answer:
        """The server's answer, or why there is none after all retries.

        Raises:
            UserError: if the server refuses the key, the model or a field of the request.
        """
        optional = {"top_k": self.sampling.top_k or None, "seed": seed, "response_format": response_format}
        fields: dict[str, Any] = {"temperature": self.sampling.temperature, "top_p": self.sampling.top_p}
        fields |= {k: v for k, v in optional.items() if v is not None}
        question = [self.base_url, self.model, self.sampling.max_tokens, conversation, fields]
        kept = self._answers.find(question)
        if kept is not None:
            return kept
        async with self._slots:
            answer = await self._ask_until_answered(conversation, fields)
        if not answer.failure:
            self._answers.keep(question, answer)
        return answer

    @property
    def _most_bytes(self) -> int:
        return _OVERHEAD_BYTES + _BYTES_PER_TOKEN * self.sampling.max_tokens

    async def _ask_until_answered(self, conversation: list[dict[str, str]], fields: Mapping[str, Any]) -> Answer:
        for tried in count():
            if spent := self._spent():
                return self._unanswered(BUDGET_SPENT, f"{BUDGET_SPENT}: {spent}")
            try:
                return await self._request(conversation, fields, self._neutral)
            except RequestError as error:
                pause = 2.0**tried * random.uniform(0.25, 0.5) if error.pause is None else error.pause
                if not error.again or tried >= self.retries or pause > LONGEST_PAUSE:
                    return self._unanswered(error.kind, f"{SERVER_FAILED}: {error}")
                await asyncio.sleep(pause)
        raise AssertionError

    def _unanswered(self, kind: str, failure: str) -> Answer:
        self._warn_once(kind, f"{failure}. Its attempts wait for the next run")
        return Answer(failure=failure)

    async def _request(
        self, conversation: list[dict[str, str]], fields: Mapping[str, Any], neutral: dict[str, Any]
    ) -> Answer:
        """One answer.

        Args:
            conversation: The question.
            fields: Fields that the server must take.
            neutral: Fields that change nothing but the server's own defaults. They are left out of all requests once one is
                refused with them and answered without.
        """
        self.requests += 1
        limit = self._limit_field
        asked = sum(len(m["content"]) for m in conversation)
        try:
            async with asyncio.timeout(self.timeout):
                response = await self._client.chat.completions.with_raw_response.create(
                    model=self.model,
                    messages=cast(Any, conversation),
                    extra_body={limit: self.sampling.max_tokens, **fields, **neutral},
                )
            content = response.http_response.content
        except (TimeoutError, openai.APITimeoutError):
            raise RequestError(f"no answer in {self.timeout:g} s") from None
        except (RequestError, openai.APIConnectionError) as error:
            reason = error if isinstance(error, RequestError) else error.__cause__
            if isinstance(reason, TooLongError):
                self._estimate(asked + self._most_bytes)
            if isinstance(reason, RequestError):
                raise reason from None
            raise RequestError("no connection", self._short(reason or error)) from None
        except openai.APIStatusError as error:
            if error.status_code == 400 and limit == "max_tokens" and "'max_completion_tokens'" in error.message:
                self._limit_field = "max_completion_tokens"
                return await self._request(conversation, fields, neutral)
            if neutral and not (self._neutral_taken or self._spent()) and may_refuse(error, neutral):
                answer = await self._request(conversation, fields, {})
                self._neutral = {}
                self._warn_once(
                    "refused", f"it refuses {', '.join(neutral)}: its own defaults of them hold, if it has any"
                )
                return answer
            raise refusal(error, self._short, self.base_url, self.model, self.api_key_env) from None
        except (ValueError, RecursionError):  # an error's body that is not JSON
            raise RequestError("what came back is not a chat completion") from None
        try:
            body = json.loads(content)
            choice = body["choices"][0]
            text, model = choice["message"]["content"] or "", body.get("model") or ""
            answer = Answer(self.clean(text), self.clean(model), cut=choice.get("finish_reason") == "length")
            usage = body.get("usage")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self._estimate(asked + len(content))
            raise RequestError("what came back is not a chat completion") from None
        self._neutral_taken |= bool(neutral)
        self._count(usage, asked + len(answer.text))
        return answer

    def _count(self, usage: Any, letters: int) -> None:
        """Counts what the server says a request used; where that is impossible, an estimate from the number of letters."""
        tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
        if tokens is None and self.budget.max_tokens_total is not None:
            raise UserError(
                f"{self.base_url} does not say how many tokens it used, so budget.max_tokens_total cannot be kept: use "
                "budget.max_requests"
            )
        most = _OVERHEAD_BYTES + 4 * letters + 2 * self.sampling.max_tokens
        if isinstance(tokens, int) and not isinstance(tokens, bool) and letters // _BYTES_PER_TOKEN < tokens <= most:
            self.tokens += tokens
        else:
            self._estimate(letters)
            if tokens is not None:
                said = (
                    f"wrong usage: {self._short(tokens)[:40]} is impossible, so the tokens are estimated from the texts"
                )
                self._warn_once("wrong usage", said)

    def _estimate(self, letters: int) -> None:
        self.tokens += letters // _LETTERS_PER_TOKEN + 1

    def _spent(self) -> str:
        """What was spent of the budget, "" while there is some left."""
        of_requests, of_tokens = self.budget.max_requests, self.budget.max_tokens_total
        if of_requests is not None and self.requests >= of_requests:
            return f"{self.requests} of {of_requests} requests"
        if of_tokens is not None and self.tokens >= of_tokens:
            return f"{self.tokens} of {of_tokens} tokens"
        return ""

    def _warn_once(self, kind: str, message: str) -> None:
        """Only the first message of each kind is worth a line."""
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("%s, model %s: %s", self.base_url, self.model, message)

    def clean(self, text: str) -> str:
        """The text as it can be stored and shown: valid Unicode without the key."""
        return hide(text.encode("utf-8", "replace").decode("utf-8"), key_in(self.api_key_env), f"${self.api_key_env}")

    def _short(self, message: object) -> str:
        return " ".join(self.clean(str(message)).split())[:300]
