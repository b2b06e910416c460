"""A server that replies as a script says, and an oracle that asks it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from int_lightning.oracles.base import Attempt
from int_lightning.oracles.server import ServerOracle
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.steps import split_steps
from int_lightning.types import Problem, Proposal, Provenance, Rollout, Sampling

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


@pytest.fixture
def api_key(monkeypatch: pytest.MonkeyPatch) -> None:
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
