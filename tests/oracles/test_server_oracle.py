"""The oracle behind a server: conversations, failures of every kind, and mistakes of the user."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.oracles.base import is_waiting
from int_lightning.oracles.chat_errors import retry_after
from int_lightning.oracles.server import NO_SEED
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import DefectKind, Sampling, UserError

from scripted_server import (
    GOOD,
    KEY,
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
    for record in chain.from_iterable(proposals):
        assert (record.oracle, record.raw, record.location, record.content) == ("server", GOOD, 1, "so x = 3")
        assert record.defect is None
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


@pytest.mark.parametrize(("finish", "kind"), [("stop", None), (None, None), ("length", DefectKind.TRUNCATED)])
def test_a_proposal_that_the_length_limit_may_have_kept_from_being_taken_back_is_not_used(
    serve, tmp_path, finish: str | None, kind: DefectKind | None
) -> None:
    reply = completion(GOOD + " But step 2")
    reply["choices"][0]["finish_reason"] = finish
    server = serve(lambda n, body: (200, reply, {}))
    for _ in range(2):  # the second time from the file
        oracle = oracle_at(server.url, proposals=1, answers=str(tmp_path / "answers.jsonl"))
        defect = ask_one(oracle).defect
        assert (defect and defect.kind) == kind
    assert len(server.requests) == 1


def test_top_k_is_sent_only_where_it_is_set(serve) -> None:
    server = serve(ok)
    ask_one(oracle_at(server.url))
    assert "top_k" not in server.requests[0]


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
    assert proposal.defect is None
    assert [r.get("max_completion_tokens") for r in server.requests] == [None, 55, 55]


@pytest.mark.parametrize(("name", "value"), [("concurrency", 0), ("retries", -1), ("timeout", 0.0), ("proposals", 0)])
def test_arguments_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(UserError, match=name):
        oracle_at("http://localhost/v1", **{name: value})


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
