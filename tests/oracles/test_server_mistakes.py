"""The oracle behind a server: the user's mistakes are named with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from int_lightning.types import Sampling, UserError

from scripted_server import (
    KEY,
    Reply,
    ask_one,
    attempt,
    error,
    ok,
    oracle_at,
    propose,
)

pytest_plugins = ["scripted_server"]
pytestmark = pytest.mark.usefixtures("api_key")


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
        ask_one(oracle_at(server.url, retries=5, proposals=1, sampling=Sampling(top_k=9)))
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
