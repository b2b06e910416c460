"""How many requests the server oracle makes at a time and in all, and how its answers are kept."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from int_lightning.oracles.base import is_waiting
from int_lightning.oracles.chat_client import Budget
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import Sampling, UserError

from scripted_server import (
    GOOD,
    Reply,
    ask_one,
    attempt,
    completion,
    error,
    ok,
    oracle_at,
    propose,
)

pytest_plugins = ["scripted_server"]
pytestmark = pytest.mark.usefixtures("api_key")


def test_no_more_requests_are_open_than_asked_for(serve) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        time.sleep(0.05)
        return ok(number, body)

    server = serve(script)
    oracle = oracle_at(server.url, concurrency=3)

    async def many() -> None:
        sampler = SimpleNamespace(prompts=PromptSet("math"), seed=0)
        await asyncio.gather(*(oracle.propose([attempt(name), attempt(name, 1)], sampler) for name in "abcdef"))

    asyncio.run(many())
    assert len(server.requests) == 6 + 6 * 2 * 2
    assert server.most_open == 3


def test_requests_beyond_the_budget_are_not_made(serve) -> None:
    server = serve(ok)
    oracle = oracle_at(server.url, budget=Budget(max_requests=3), concurrency=1)
    p, q = propose(oracle, [attempt("p"), attempt("q")], "mini")
    assert len(server.requests) == 3
    assert [str(x.defect or "") for x in [*p, *q]] == ["", "", "", "waiting: the budget is spent: 3 of 3 requests"]


def test_repeated_requests_count_in_the_budget(serve) -> None:
    server = serve(lambda n, b: (500, error("no"), {"retry-after": "0"}))
    proposal = ask_one(oracle_at(server.url, proposals=1, retries=50, budget=Budget(max_requests=3)))
    assert len(server.requests) == 3
    assert str(proposal.defect) == "waiting: the budget is spent: 3 of 3 requests"


def test_no_request_is_made_once_the_tokens_are_spent(serve) -> None:
    server = serve(ok)
    oracle = oracle_at(server.url, budget=Budget(max_tokens_total=25), concurrency=1)
    p, q = propose(oracle, [attempt("p"), attempt("q")], "mini")
    assert [str(x.defect or "") for x in [*p, *q]] == ["", "", "", "waiting: the budget is spent: 30 of 25 tokens"]
    assert (oracle.client.requests, oracle.client.tokens) == (3, 30)


def test_tokens_that_are_not_told_cannot_be_budgeted(serve) -> None:
    server = serve(lambda n, b: (200, {k: v for k, v in completion().items() if k != "usage"}, {}))
    assert ask_one(oracle_at(server.url)).defect is None
    with pytest.raises(UserError, match=r"max_tokens_total cannot be kept: use budget\.max_requests"):
        ask_one(oracle_at(server.url, budget=Budget(max_tokens_total=25)))


def test_kept_answers_are_not_asked_for_again_whatever_cut_the_run_short(serve, tmp_path: Path) -> None:
    def failing(number: int, body: dict[str, Any]) -> Reply:
        text = body["messages"][0]["content"] if len(body["messages"]) == 1 else f"{GOOD} {body['seed']}"
        return (500, error("no"), {}) if number >= 4 else (200, completion(text), {})

    def whole(number: int, body: dict[str, Any]) -> Reply:
        return failing(0, body)

    attempts = [attempt("p"), attempt("q")]
    server, answers = serve(failing), tmp_path / "new" / "answers.jsonl"
    first = propose(oracle_at(server.url, answers=str(answers), concurrency=1), attempts)
    assert [is_waiting(x) for x in chain.from_iterable(first)] == [False, False, True, True]
    with answers.open("ab") as file:
        file.write(b'{"question": "cut sho')
    server.script, server.requests = whole, []
    second = propose(oracle_at(server.url, answers=str(answers)), attempts)
    assert len(server.requests) == 2
    assert second[0] == first[0]
    assert not any(is_waiting(x) for x in second[1])
    server.requests = []
    assert propose(oracle_at(server.url, answers=str(answers)), attempts) == second
    assert server.requests == []
    propose(oracle_at(server.url, answers=str(answers), sampling=Sampling(temperature=0.1)), attempts)
    assert len(server.requests) == 6


def test_answers_that_cannot_be_written_are_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="answers"):
        oracle_at("http://localhost/v1", answers=str(tmp_path / "file" / "answers.jsonl"))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Makes SIGINT raise KeyboardInterrupt, however the process that runs the tests handles it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_loses_no_kept_answer(serve, tmp_path: Path) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        return ok(number, body)

    server, answers = serve(script), tmp_path / "answers.jsonl"
    with pytest.raises(KeyboardInterrupt):
        propose(oracle_at(server.url, answers=str(answers), concurrency=1), [attempt("p"), attempt("q")], "mini")
    assert len(answers.read_text().splitlines()) == 3
    server.script, server.requests = ok, []
    propose(oracle_at(server.url, answers=str(answers)), [attempt("p"), attempt("q")], "mini")
    assert len(server.requests) == 1
