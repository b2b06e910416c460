"""The oracle behind a server that fails: what is repeated, and what is left for the next run."""

from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.oracles.base import is_waiting
from int_lightning.oracles.chat_errors import retry_after

from scripted_server import (
    GOOD,
    Reply,
    Script,
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


@pytest.mark.parametrize("status", [500, 502, 503, 408, 409, 429])
def test_a_failure_that_passes_is_repeated(serve, status: int) -> None:
    server = serve(lambda n, body: ok(n, body) if n else (status, error("a moment"), {}))
    assert ask_one(oracle_at(server.url, proposals=1, retries=1)).defect is None
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]


def test_garbage_is_repeated(serve) -> None:
    server = serve(lambda n, body: ok(n, body) if n else (200, b"<html>starting", {"content-type": "text/html"}))
    assert ask_one(oracle_at(server.url, proposals=1, retries=1)).defect is None


def test_a_request_is_repeated_as_often_as_asked_for(serve) -> None:
    server = serve(lambda n, body: (503, error("no workers"), {"retry-after": "0"}))
    assert is_waiting(ask_one(oracle_at(server.url, proposals=1, retries=3)))
    assert len(server.requests) == 4


def test_retry_after_is_honoured(serve) -> None:
    at: list[float] = []

    def script(number: int, body: dict[str, Any]) -> Reply:
        at.append(time.monotonic())
        return ok(number, body) if number else (429, error("slow down"), {"retry-after": "1.5"})

    server = serve(script)
    assert ask_one(oracle_at(server.url, proposals=1, retries=1)).defect is None
    assert at[1] - at[0] >= 1.5


def test_a_server_that_asks_for_hours_is_left_for_the_next_run(serve) -> None:
    server = serve(lambda n, body: (429, error("come back tomorrow"), {"retry-after": "36000"}))
    started = time.monotonic()
    proposal = ask_one(oracle_at(server.url, proposals=1, retries=5))
    assert str(proposal.defect) == "waiting: the server failed: HTTP 429: come back tomorrow"
    assert time.monotonic() - started < 10
    assert len(server.requests) == 1


def drip(number: int, body: dict[str, Any]) -> Reply:
    time.sleep(5)
    return ok(number, body)


FAILURES: dict[str, tuple[Script, str]] = {
    "slow": (drip, "no answer in 0.5 s"),
    "overloaded": (lambda n, b: (503, error("no workers"), {}), "HTTP 503: no workers"),
    "limited": (lambda n, b: (429, error("rate limit"), {"retry-after": "0"}), "HTTP 429: rate limit"),
    "long prompt": (lambda n, b: (400, error("too long", "input_tokens"), {}), "HTTP 400: too long"),
    "plain text error": (lambda n, b: (500, b"Oops\n  twice", {"content-type": "text/plain"}), "HTTP 500: Oops twice"),
    "html": (lambda n, b: (200, b"<html>", {"content-type": "text/html"}), "not a chat completion"),
    "not json": (lambda n, b: (200, b'{"choices": [', {}), "not a chat completion"),
    "not utf-8": (lambda n, b: (200, b"\xff\xfe{}", {}), "not a chat completion"),
    "empty": (lambda n, b: (200, b"", {}), "not a chat completion"),
    "null": (lambda n, b: (200, None, {}), "not a chat completion"),
    "list": (lambda n, b: (200, [1], {}), "not a chat completion"),
    "no choices": (lambda n, b: (200, {"choices": []}, {}), "not a chat completion"),
    "null choices": (lambda n, b: (200, {"choices": None, "model": "m"}, {}), "not a chat completion"),
    "error with 200": (lambda n, b: (200, error("busy"), {}), "not a chat completion"),
    "text choice": (lambda n, b: (200, {"choices": ["x"]}, {}), "not a chat completion"),
    "number": (lambda n, b: (200, completion(3), {}), "not a chat completion"),
    "parts": (lambda n, b: (200, completion([{"type": "text", "text": GOOD}]), {}), "not a chat completion"),
    "brackets": (lambda n, b: (200, b"[" * 200_000, {}), "not a chat completion"),
    "cut short": (lambda n, b: (200, b'{"choices"', {"content-length": "100", "connection": "close"}), "no connection"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_that_stays_leaves_the_attempt_waiting(serve, name: str) -> None:
    script, reason = FAILURES[name]
    server = serve(script)
    (proposals,) = propose(oracle_at(server.url, timeout=0.5 if name == "slow" else 20.0), [attempt()], "mini")
    for proposal in proposals:
        assert is_waiting(proposal)
        assert str(proposal.defect).startswith("waiting: the server failed: ")
        assert reason in str(proposal.defect)
        assert (proposal.raw, proposal.location, proposal.content) == ("", -1, "")


def test_a_request_has_its_timeout_even_where_bytes_keep_coming() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def trickle() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n")
                for _ in range(50):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return
                    time.sleep(0.1)

        threading.Thread(target=trickle, daemon=True).start()
        started = time.monotonic()
        proposal = ask_one(oracle_at(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", proposals=1, timeout=0.6))
    assert str(proposal.defect) == "waiting: the server failed: no answer in 0.6 s"
    assert time.monotonic() - started < 4


def test_a_server_that_is_down_is_tried_again_and_then_left(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    started = time.monotonic()
    (proposals,) = propose(oracle_at(f"http://127.0.0.1:{port}/v1", retries=2), [attempt()], "mini")
    assert time.monotonic() - started >= 0.25 + 0.5
    assert all("the server failed: no connection" in str(p.defect) for p in proposals)
    warned = [r.getMessage() for r in caplog.records if r.name == "int_lightning.oracles.chat_client"]
    assert len(warned) == 1
    assert f"127.0.0.1:{port}" in warned[0]


def test_a_failed_first_turn_leaves_all_attempts_of_its_problem_waiting(serve) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        failing = len(body["messages"]) == 1 and "Problem p" in body["messages"][0]["content"]
        return (500, error("no"), {}) if failing else ok(number, body)

    server = serve(script)
    p, q, again = propose(oracle_at(server.url), [attempt("p"), attempt("q"), attempt("p", 1)])
    assert all(map(is_waiting, [*p, *again]))
    assert not any(map(is_waiting, q))
    assert len([r for r in server.requests if len(r["messages"]) == 3]) == 2


def test_one_attempt_that_fails_costs_the_others_nothing(serve) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        return (500, error("no"), {}) if "Problem q" in body["messages"][0]["content"] else ok(number, body)

    p, q, r = propose(oracle_at(serve(script).url), [attempt("p"), attempt("q"), attempt("r")], "mini")
    assert [proposal.content for proposal in [*p, *r]] == ["so x = 3"] * 4
    assert all(map(is_waiting, q))


def test_retry_after_in_seconds_and_as_a_date() -> None:
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after": "0"}) == 0
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (retry_after({"retry-after": soon}) or 0) <= 30
    assert retry_after({}) is None
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) is None


@given(st.text() | st.floats().map(str) | st.datetimes().map(format_datetime))
def test_any_retry_after_is_a_pause_or_none(value: str) -> None:
    pause = retry_after({"retry-after": value})
    assert pause is None or pause >= 0
