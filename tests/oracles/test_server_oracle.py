"""The oracle behind a server: its conversations, seeds and records."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import chain
from typing import Any

import pytest

from int_lightning.defects import DefectKind
from int_lightning.engines.sampling_fields import NEUTRAL
from int_lightning.oracles.base import is_waiting
from int_lightning.oracles.server import NO_SEED
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import Sampling

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
        assert set(request) == {*sent, *NEUTRAL, "messages", "seed"}
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


@pytest.mark.parametrize("top_k", [0, 9])
def test_no_parameter_is_left_to_the_defaults_of_the_server(serve, top_k: int) -> None:
    server = serve(ok)
    ask_one(oracle_at(server.url, sampling=Sampling(temperature=0.5, top_p=0.25, top_k=top_k)))
    drawn = {"temperature": 0.5, "top_p": 0.25, "top_k": top_k}
    penalties = {"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
    for request in server.requests:
        assert request.items() >= (drawn | penalties).items()


@pytest.mark.parametrize(
    "refused",
    [
        (400, error("Unrecognized request arguments supplied: min_p, top_k", "top_k"), {}),
        (400, error("Unknown parameter: 'top_k'."), {}),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "min_p"], "msg": "no"}]}, {}),
        (400, b"bad request", {}),
    ],
)
def test_a_server_that_takes_only_the_fields_of_the_api_gets_only_those(
    serve, refused: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(lambda n, body: refused if "min_p" in body or "top_k" in body else ok(n, body))
    oracle = oracle_at(server.url, proposals=1)
    for name in ("p", "q"):
        ((proposal,),) = propose(oracle, [attempt(name)], "mini")
        assert proposal.defect is None
    assert ["min_p" in request for request in server.requests] == [True, False, False]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "it refuses min_p, repetition_penalty, presence_penalty, frequency_penalty, top_k" in line


def test_a_prompt_that_is_too_long_does_not_cost_the_other_requests_their_fields(serve) -> None:
    server = serve(lambda n, body: (400, error("too long"), {}) if n < 2 else ok(n, body))
    oracle = oracle_at(server.url, proposals=1)
    for name in ("p", "q"):
        propose(oracle, [attempt(name)], "mini")
    assert ["min_p" in request for request in server.requests] == [True, False, True]


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
