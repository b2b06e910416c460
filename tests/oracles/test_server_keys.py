"""The key of a server: sent to that server, and shown nowhere."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from dataclasses import asdict
from pathlib import Path

import pytest

from int_lightning.types import UserError

from scripted_server import (
    GOOD,
    KEY,
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
