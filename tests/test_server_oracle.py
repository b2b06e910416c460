"""The oracle behind a server: scripted servers that fail in every way, and a real vLLM server of the mini model."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.collect.chat import Budget, retry_after
from int_lightning.collect.oracles import Attempt, is_waiting
from int_lightning.collect.server import NO_SEED, ServerOracle
from int_lightning.engines import vllm
from int_lightning.learn.pretrained import resolve_model
from int_lightning.mini.world import load_split
from int_lightning.prompts import PromptSet
from int_lightning.steps import split_steps
from int_lightning.types import Problem, Proposal, Provenance, Rollout, Sampling, UserError

KEY = "sk-very-secret-0123456789"
GOOD = '<intervention>{"location": 1, "content": "so x = 3"}</intervention>'
TEXT = "x + 2 = 5\n\nso x = 7\n\n\\boxed{7}"


def attempt(name: str = "p", sample: int = 0, text: str = TEXT) -> Attempt:
    problem = Problem(name, f"Problem {name}: x + 2 = 5", "x = 3", "3")
    provenance = Provenance("m", "f", "e", "t", Sampling(), 0)
    rollout = Rollout(f"{name}/attempt/{sample}", name, sample, [1], [2], [0.0], text, "stop", "", False, provenance)
    return Attempt(problem, rollout, split_steps(text))


def completion(text: Any = GOOD, tokens: int = 10) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 4, "completion_tokens": tokens - 4, "total_tokens": tokens}
    return {"id": "1", "object": "chat.completion", "model": "m-2026", "choices": [choice], "usage": usage}


def error(message: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}


Reply = tuple[int, Any, dict[str, str]]
Script = Callable[[int, dict[str, Any]], Reply]


class Server:
    """Replies as its script says to the n-th request; counts requests that are open at the same time."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with server.lock:
                    number = len(server.requests)
                    server.requests.append(body)
                    server.headers.append({k.lower(): v for k, v in self.headers.items()})
                    server.open += 1
                    server.most_open = max(server.most_open, server.open)
                try:
                    status, reply, headers = server.script(number, body)
                    data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                    self.send_response(status)
                    headers = {"content-type": "application/json", "content-length": str(len(data))} | headers
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # the client went away
                finally:
                    with server.lock:
                        server.open -= 1

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@pytest.fixture
def serve() -> Iterator[Callable[[Script], Server]]:
    started: list[Server] = []

    def start(script: Script) -> Server:
        started.append(Server(script))
        return started[-1]

    yield start
    for server in started:
        server.http.shutdown()
        server.http.server_close()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def ok(number: int, body: dict[str, Any]) -> Reply:
    return 200, completion(), {}


def propose(
    oracle: ServerOracle, attempts: list[Attempt], prompts: str = "math", seed: int = 0
) -> list[list[Proposal]]:
    return asyncio.run(oracle.propose(attempts, SimpleNamespace(prompts=PromptSet(prompts), seed=seed)))


def oracle_at(url: str, **changed: Any) -> ServerOracle:
    """K = 2, no retries, the mini prompts' single turn unless told otherwise."""
    return ServerOracle(url, "m", **{"proposals": 2, "retries": 0, "timeout": 20.0} | changed)


def ask_one(oracle: ServerOracle) -> Proposal:
    ((proposal, *_),) = propose(oracle, [attempt()], "mini")
    return proposal


def test_the_conversation_has_two_turns_and_the_first_is_held_once_a_problem(serve) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        return 200, completion("worked: x = 3" if len(body["messages"]) == 1 else GOOD), {}

    server = serve(script)
    attempts = [attempt("p", 0), attempt("q"), attempt("p", 1)]
    sampling = Sampling(max_tokens=77, temperature=0.5, top_p=0.25, top_k=9)
    proposals = propose(oracle_at(server.url, sampling=sampling), attempts)
    first = [r for r in server.requests if len(r["messages"]) == 1]
    second = [r for r in server.requests if len(r["messages"]) == 3]
    assert (len(first), len(second)) == (2, 6)
    prompts = PromptSet("math")
    asked = prompts.verify(attempts[1].problem, attempts[1].steps, "worked: x = 3")
    assert sum(r["messages"] == asked for r in second) == 2
    assert asked[1] == {"role": "assistant", "content": "worked: x = 3"}
    assert "Step 1: so x = 7" in asked[2]["content"]
    for request in server.requests:
        sent = {k: request[k] for k in ("model", "max_tokens", "temperature", "top_p", "top_k")}
        assert sent == {"model": "m", "max_tokens": 77, "temperature": 0.5, "top_p": 0.25, "top_k": 9}
        assert set(request) == {*sent, "messages", "seed"}
    assert len({r["seed"] for r in server.requests}) == 8
    assert [[p.rollout_id for p in ps] for ps in proposals] == [[a.rollout.id] * 2 for a in attempts]
    for record in (p for ps in proposals for p in ps):
        assert (record.oracle, record.raw, record.location, record.content) == ("server", GOOD, 1, "so x = 3")
        assert record.defect == ""
        assert record.provenance is not None
        assert record.provenance.seed in {r["seed"] for r in second}
        template = f"{prompts.versions['guide']}+{prompts.versions['verify']}"
        about = ("m-2026", server.url, "server", template, sampling)
        assert (*asdict(record.provenance).values(),)[:4] == about[:4]
        assert record.provenance.sampling == sampling


def test_seeds_depend_on_run_attempt_and_sample_alone(serve) -> None:
    server = serve(ok)
    propose(oracle_at(server.url), [attempt("p"), attempt("q")], "mini")
    propose(oracle_at(server.url), [attempt("q")], "mini")
    propose(oracle_at(server.url), [attempt("q")], "mini", seed=1)
    seeds = [r["seed"] for r in server.requests]
    assert set(seeds[4:6]) < set(seeds[:4])
    assert not set(seeds[6:]) & set(seeds[:6])
    assert all(0 <= s < 2**31 for s in seeds)


def test_a_prompt_set_without_a_guide_has_one_turn(serve) -> None:
    server = serve(ok)
    proposals = propose(oracle_at(server.url), [attempt()], "mini")
    assert [len(r["messages"]) for r in server.requests] == [1, 1]
    assert [p.provenance.template for p in proposals[0]] == [PromptSet("mini").versions["verify"]] * 2


def test_without_a_seed_none_is_sent_and_none_is_recorded(serve) -> None:
    server = serve(ok)
    proposal = ask_one(oracle_at(server.url, seeded=False))
    assert "seed" not in server.requests[0]
    assert proposal.provenance.seed == NO_SEED


def test_structured_decoding_is_asked_for_in_the_second_turn(serve) -> None:
    server = serve(ok)
    propose(oracle_at(server.url, structured=True, proposals=1), [attempt()])
    first, second = server.requests
    assert "response_format" not in first
    (tag,) = second["response_format"]["format"]["tags"]
    assert tag["begin"] == "<intervention>"
    assert '("0" | "1" | "2")' in tag["content"]["grammar"]


def test_top_k_is_sent_only_where_it_is_set(serve) -> None:
    server = serve(ok)
    ask_one(oracle_at(server.url))
    assert "top_k" not in server.requests[0]


@pytest.mark.parametrize("status", [500, 502, 503, 408, 409, 429])
def test_a_failure_that_passes_is_repeated(serve, status: int) -> None:
    server = serve(lambda n, body: ok(n, body) if n else (status, error("a moment"), {}))
    assert ask_one(oracle_at(server.url, proposals=1, retries=1)).defect == ""
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]


def test_garbage_is_repeated(serve) -> None:
    server = serve(lambda n, body: ok(n, body) if n else (200, b"<html>starting", {"content-type": "text/html"}))
    assert ask_one(oracle_at(server.url, proposals=1, retries=1)).defect == ""


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
    assert ask_one(oracle_at(server.url, proposals=1, retries=1)).defect == ""
    assert at[1] - at[0] >= 1.5


def test_a_server_that_asks_for_hours_is_left_for_the_next_run(serve) -> None:
    server = serve(lambda n, body: (429, error("come back tomorrow"), {"retry-after": "36000"}))
    started = time.monotonic()
    proposal = ask_one(oracle_at(server.url, proposals=1, retries=5))
    assert proposal.defect == "waiting: the server failed: HTTP 429: come back tomorrow"
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
    "html": (lambda n, b: (200, b"<html>", {"content-type": "text/html"}), "no chat completion"),
    "not json": (lambda n, b: (200, b'{"choices": [', {}), "no chat completion"),
    "not utf-8": (lambda n, b: (200, b"\xff\xfe{}", {}), "no chat completion"),
    "empty": (lambda n, b: (200, b"", {}), "no chat completion"),
    "null": (lambda n, b: (200, None, {}), "no chat completion"),
    "list": (lambda n, b: (200, [1], {}), "no chat completion"),
    "no choices": (lambda n, b: (200, {"choices": []}, {}), "no chat completion"),
    "null choices": (lambda n, b: (200, {"choices": None, "model": "m"}, {}), "no chat completion"),
    "error with 200": (lambda n, b: (200, error("busy"), {}), "no chat completion"),
    "text choice": (lambda n, b: (200, {"choices": ["x"]}, {}), "no chat completion"),
    "number": (lambda n, b: (200, completion(3), {}), "no chat completion"),
    "parts": (lambda n, b: (200, completion([{"type": "text", "text": GOOD}]), {}), "no chat completion"),
    "brackets": (lambda n, b: (200, b"[" * 200_000, {}), "no chat completion"),
    "cut short": (lambda n, b: (200, b'{"choices"', {"content-length": "100", "connection": "close"}), "no connection"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_that_stays_leaves_the_attempt_waiting(serve, name: str) -> None:
    script, reason = FAILURES[name]
    server = serve(script)
    (proposals,) = propose(oracle_at(server.url, timeout=0.5 if name == "slow" else 20.0), [attempt()], "mini")
    for proposal in proposals:
        assert is_waiting(proposal)
        assert proposal.defect.startswith("waiting: the server failed: ")
        assert reason in proposal.defect
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
    assert proposal.defect == "waiting: the server failed: no answer in 0.6 s"
    assert time.monotonic() - started < 4


def test_a_server_that_is_down_is_tried_again_and_then_left(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    started = time.monotonic()
    (proposals,) = propose(oracle_at(f"http://127.0.0.1:{port}/v1", retries=2), [attempt()], "mini")
    assert time.monotonic() - started >= 0.25 + 0.5
    assert all("the server failed: no connection" in p.defect for p in proposals)
    warned = [r.getMessage() for r in caplog.records if r.name == "int_lightning.collect.chat"]
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


@pytest.mark.parametrize("said", ["I see no error.", "", None, "<intervention>{}</intervention>"])
def test_an_answer_that_is_of_no_use_is_an_answer(serve, said: str | None) -> None:
    proposal = ask_one(oracle_at(serve(lambda n, b: (200, completion(said), {})).url))
    assert proposal.defect
    assert not is_waiting(proposal)
    assert proposal.raw == (said or "")


def test_half_characters_do_not_reach_the_record(serve) -> None:
    reply = json.dumps(completion("HALF " + GOOD)).replace("HALF", "\\ud835").encode()
    proposal = ask_one(oracle_at(serve(lambda n, b: (200, reply, {})).url))
    assert proposal.raw == "? " + GOOD
    assert proposal.location == 1


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "ELSEWHERE_KEY"])
def test_a_wrong_or_missing_key_is_the_users_mistake(serve, status: int, variable: str) -> None:
    server = serve(lambda n, b: (status, error(f"bad key {KEY}"), {}))
    with pytest.raises(UserError) as caught:
        propose(oracle_at(server.url, retries=5, concurrency=1, api_key_env=variable), [attempt()], "mini")
    state = "is not the right one" if variable == "OPENAI_API_KEY" else "is not set"
    for part in (server.url, "'m'", f"{variable} {state}", str(status)):
        assert part in str(caught.value)
    assert len(server.requests) == 1


def test_an_unknown_model_is_the_users_mistake(serve) -> None:
    server = serve(lambda n, b: (404, error("The model `m` does not exist. Valid aliases: n.", "model"), {}))
    with pytest.raises(UserError) as caught:
        ask_one(oracle_at(server.url, retries=5))
    for part in (server.url, "no model 'm'", "Valid aliases: n", "OPENAI_API_KEY", "/v1"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("status", "reply", "field", "remedy"),
    [
        (400, error("Unknown field", "seed"), "seed", "seeded"),
        (400, error("validation error", "body.seed"), "seed", "seeded"),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "no"}]}, "seed", "seeded"),
        (400, error("Unrecognized request argument supplied: 'top_k'"), "top_k", "top_k"),
        (400, error("temperature must be in [0, 2]", "temperature"), "temperature", "sampling.temperature"),
        (400, error("Invalid value: 'structural_tag'", "response_format"), "response_format", "structured"),
    ],
)
def test_a_refused_field_is_named_with_its_remedy(
    serve, status: int, reply: dict[str, Any], field: str, remedy: str
) -> None:
    server = serve(lambda n, b: (status, reply, {}))
    with pytest.raises(UserError) as caught:
        ask_one(oracle_at(server.url, retries=5, proposals=1))
    for part in (server.url, f"refuses the field '{field}'", remedy, str(status)):
        assert part in str(caught.value)
    assert len(server.requests) == 1


def test_a_server_that_wants_max_completion_tokens_gets_it(serve) -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."

    def script(number: int, body: dict[str, Any]) -> Reply:
        return (400, error(said, "max_tokens"), {}) if "max_tokens" in body else ok(number, body)

    server = serve(script)
    oracle = oracle_at(server.url, proposals=1, sampling=Sampling(max_tokens=55))
    propose(oracle, [attempt("p")], "mini")
    ((proposal,),) = propose(oracle, [attempt("q")], "mini")
    assert proposal.defect == ""
    assert [r.get("max_completion_tokens") for r in server.requests] == [None, 55, 55]


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
    assert [x.defect for x in [*p, *q]] == ["", "", "", "waiting: the budget is spent: 3 of 3 requests"]


def test_repeated_requests_count_in_the_budget(serve) -> None:
    server = serve(lambda n, b: (500, error("no"), {"retry-after": "0"}))
    proposal = ask_one(oracle_at(server.url, proposals=1, retries=50, budget=Budget(max_requests=3)))
    assert len(server.requests) == 3
    assert proposal.defect == "waiting: the budget is spent: 3 of 3 requests"


def test_no_request_is_made_once_the_tokens_are_spent(serve) -> None:
    server = serve(ok)
    oracle = oracle_at(server.url, budget=Budget(max_tokens_total=25), concurrency=1)
    p, q = propose(oracle, [attempt("p"), attempt("q")], "mini")
    assert [x.defect for x in [*p, *q]] == ["", "", "", "waiting: the budget is spent: 30 of 25 tokens"]
    assert (oracle.server.requests, oracle.server.tokens) == (3, 30)


def test_tokens_that_are_not_told_cannot_be_budgeted(serve) -> None:
    server = serve(lambda n, b: (200, {k: v for k, v in completion().items() if k != "usage"}, {}))
    assert ask_one(oracle_at(server.url)).defect == ""
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
    assert [is_waiting(x) for ps in first for x in ps] == [False, False, True, True]
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
    """SIGINT raises KeyboardInterrupt, whatever the process that runs the tests does with it."""
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


def test_the_key_is_sent_and_appears_nowhere(
    serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    replies: list[Reply] = [
        (200, completion(f"Bearer {KEY} {GOOD}"), {}),
        (500, error(f"Bearer {KEY} crashed"), {}),
        (500, f"<html>{KEY}".encode(), {"content-type": "text/html"}),
        (200, completion() | {"model": f"m-{KEY}"}, {}),
    ]
    server = serve(lambda n, b: replies[n])
    oracle = oracle_at(server.url, answers=str(tmp_path / "answers.jsonl"), proposals=len(replies), concurrency=1)
    (proposals,) = propose(oracle, [attempt()], "mini")
    assert [h["authorization"] for h in server.headers] == [f"Bearer {KEY}"] * 4
    mistakes = []
    for status, reply in ((401, error(KEY)), (404, error(KEY)), (400, error(f"'seed' {KEY}")), (403, KEY.encode())):
        with pytest.raises(UserError) as caught:
            ask_one(oracle_at(serve(lambda n, b, s=status, r=reply: (s, r, {})).url))
        mistakes += [str(caught.value), "".join(traceback.format_exception(caught.value))]
    shown = capfd.readouterr()
    everything = [
        repr(pickle.dumps(oracle)),
        json.dumps([asdict(p) for p in proposals]),
        (tmp_path / "answers.jsonl").read_text(),
        caplog.text,
        *mistakes,
        shown.out,
        shown.err,
    ]
    assert "crashed" in caplog.text
    assert not [text for text in everything if KEY in text]
    assert proposals[0].raw == f"Bearer $OPENAI_API_KEY {GOOD}"


@pytest.mark.parametrize("value", [f"{KEY}\n", f" {KEY}"])
def test_blanks_around_a_key_are_not_part_of_it(serve, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", value)
    server = serve(ok)
    ask_one(oracle_at(server.url))
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("value", [f"{KEY}\n{KEY}", f"{KEY}…"])
def test_a_key_that_no_header_can_hold_is_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(UserError, match="OPENAI_API_KEY") as caught:
        ask_one(oracle_at("http://127.0.0.1:9/v1"))
    assert KEY not in str(caught.value)


def test_a_key_goes_to_no_server_that_names_another_variable(serve) -> None:
    server = serve(ok)
    ask_one(oracle_at(server.url, api_key_env="ANOTHER_KEY"))
    assert KEY not in json.dumps(server.headers)


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{KEY}@localhost:8000/v1",
        f"https://localhost/v1?key={KEY}",
        f"https://localhost/v1#{KEY}",
        f"localhost:8000/{KEY}",
        KEY,
        "",
    ],
)
def test_an_address_is_an_address_and_no_more(url: str) -> None:
    with pytest.raises(UserError, match="base_url") as caught:
        oracle_at(url)
    assert KEY not in str(caught.value)


def test_a_key_in_place_of_its_variables_name_is_refused_and_not_shown() -> None:
    with pytest.raises(UserError, match="NAME of an environment variable") as caught:
        oracle_at("http://localhost/v1", api_key_env=KEY)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("bad", [{"concurrency": 0}, {"retries": -1}, {"timeout": 0.0}, {"proposals": 0}])
def test_arguments_out_of_range_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        oracle_at("http://localhost/v1", **bad)


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


@pytest.fixture(scope="module")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not vllm.available():
        pytest.skip("vLLM is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("vllm")
    options = {
        "model": resolve_model("mini"),
        "served-model-name": "mini",
        "host": "127.0.0.1",
        "port": str(port),
        "dtype": "float32",
        "max-model-len": "256",
        "max-num-seqs": "16",
        "max-num-batched-tokens": "8192",
        "distributed-executor-backend": "uni",
    }
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
    command += ["--no-enable-chunked-prefill", *(part for k, v in options.items() for part in (f"--{k}", v))]
    settings = {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_API_KEY": KEY}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | settings, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 240
        while not _healthy(port):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as response:
            return response.status == 200
    except OSError:
        return False


def mini_attempts(count: int) -> list[Attempt]:
    """Attempts with the base model's own mistake."""
    attempts = []
    for problem in load_split("hard-train", count):
        value, steps, rest = problem.problem[0], [], problem.problem[1:]
        for op, b in zip(rest[::2], rest[1::2], strict=True):
            result = {"+": int(value) + int(b), "-": int(value) - int(b), "*": int(value) * int(b)}
            steps.append(f"{value}{op}{b}={(after := result.get(op, int(value) + int(b)) % 10)}")
            value = str(after)
        text = "\n\n".join([*steps, f"\\boxed{{{value}}}"])
        rollout = Rollout(
            f"{problem.id}/attempt/0", problem.id, 0, [1], [2], [0.0], text, "stop", "", False,
            Provenance("m", "f", "e", "t", Sampling(), 0),
        )  # fmt: skip
        attempts.append(Attempt(problem, rollout, split_steps(text)))
    return attempts


GREEDY = Sampling(max_tokens=40, temperature=0.0)


def test_a_vllm_server_of_the_mini_model_finds_its_mistakes(vllm_server: str) -> None:
    attempts = mini_attempts(8)
    proposals = propose(ServerOracle(vllm_server, "mini", 2, GREEDY, retries=0), attempts, "mini")
    right = [a.steps[p.location].partition("=")[0] in p.content for a, (p, _) in zip(attempts, proposals, strict=True)]
    assert sum("@" in p.content for p, _ in proposals) >= 6
    assert sum(right) >= 6
    assert all(p.provenance.model == "mini" for p, _ in proposals)


def test_a_vllm_server_repeats_itself_for_the_same_seed(vllm_server: str) -> None:
    hot = Sampling(max_tokens=40, temperature=2.0)
    oracle = ServerOracle(vllm_server, "mini", 8, hot, retries=0)
    (first,), (second,) = (propose(oracle, mini_attempts(1), "mini") for _ in range(2))
    assert first == second


def test_structured_decoding_leaves_no_broken_json_between_the_tags(vllm_server: str) -> None:
    hot = Sampling(max_tokens=120, temperature=2.0)

    def broken(structured: bool) -> tuple[int, int]:
        oracle = ServerOracle(vllm_server, "mini", 24, hot, structured=structured)
        said = [p.raw for ps in propose(oracle, mini_attempts(4), "mini") for p in ps]
        bodies = [s.partition("<intervention>")[2] for s in said if s.endswith("</intervention>")]
        return sum(not _begins_with_a_proposal(b) for b in bodies if b), len(said)

    unconstrained, count = broken(structured=False)
    assert unconstrained > 0
    assert broken(structured=True) == (0, count)


def _begins_with_a_proposal(text: str) -> bool:
    try:
        body, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return False
    whole = body == {} or (isinstance(body, dict) and body.keys() == {"location", "content"} and body["location"] >= 0)
    return whole and text[end:].startswith("</intervention>")


def test_a_vllm_server_refuses_key_model_and_field(vllm_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no model 'other'.*Valid aliases: mini"):
        propose(ServerOracle(vllm_server, "other", 1, GREEDY), mini_attempts(1), "mini")
    with pytest.raises(UserError, match="refuses the field 'temperature'"):
        propose(ServerOracle(vllm_server, "mini", 1, Sampling(40, temperature=3.0)), mini_attempts(1), "mini")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-0123456789")
    with pytest.raises(UserError, match="OPENAI_API_KEY is not the right one"):
        propose(ServerOracle(vllm_server, "mini", 1, GREEDY), mini_attempts(1), "mini")


def test_a_conversation_that_a_vllm_server_has_no_room_for_waits(vllm_server: str) -> None:
    long = mini_attempts(1)[0]
    long = Attempt(long.problem, long.rollout, ["1+1=2\n\n"] * 60)
    ((proposal,),) = propose(ServerOracle(vllm_server, "mini", 1, GREEDY), [long], "mini")
    assert proposal.defect.startswith("waiting: the server failed: HTTP 400: This model's maximum context length")
