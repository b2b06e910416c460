"""Temporary folders: removed after a time limit, and after a kill by the next process, but never those of a living one."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps, loads
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from int_lightning.engines.vllm_weights import EXTENSION
from int_lightning.models.resolve import resolve_model
from int_lightning.scratch import scratch_folder

HOLDS = """
import sys, time
from int_lightning.scratch import scratch_folder
with scratch_folder("weights", sys.argv[1]) as folder:
    (folder / "model.safetensors").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(100)
"""

SYNC = """
import sys
from int_lightning.engines.base import EngineConfig
from int_lightning.model_folder.weights import weights_of_folder
from int_lightning.engines.server import ServerEngine
from int_lightning.models.resolve import resolve_model
from int_lightning.time_limit import time_limit
folder = resolve_model("mini")
engine = ServerEngine(folder, EngineConfig("server", sys.argv[1], sys.argv[2], time_limit=100, max_model_len=64))
with time_limit(10, "the sync of weights into the engine"):
    engine.load_weights(weights_of_folder(folder))
"""


def test_a_folder_lasts_as_long_as_its_block(tmp_path: Path) -> None:
    with scratch_folder("weights", str(tmp_path)) as folder:
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_and_what_a_living_one_holds_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    holders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        folders = []
        for holder in holders:
            assert holder.stdout is not None
            folders.append(Path(holder.stdout.readline().strip()))
        holders[0].send_signal(signal.SIGKILL)
        holders[0].wait()
        assert folders[0].exists()
        with scratch_folder("weights", str(tmp_path)):
            assert not folders[0].parent.exists()
            assert folders[1].exists()
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


class Server(BaseHTTPRequestHandler):
    """A vLLM server that never ends loading weights."""

    tokenizer = AutoTokenizer.from_pretrained(resolve_model("mini"))
    weights: list[str]

    def do_GET(self) -> None:
        options = {"model_config": {"logprobs_mode": "processed_logprobs"}}
        options["parallel_config"] = {"worker_extension_cls": EXTENSION}
        self.answer({"data": [{"id": "mini", "max_model_len": 64}], "vllm_config": options})

    def do_POST(self) -> None:
        body = loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self.answer({"tokens": self.tokenizer.encode(body["prompt"], add_special_tokens=False)})
        else:
            self.weights.extend(file.name for file in Path(body["kwargs"]["weights_path"]).iterdir())
            threading.Event().wait(100)

    def answer(self, value: object) -> None:
        content = dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hanging_server() -> Iterator[str]:
    Server.weights = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_a_sync_that_the_time_limit_ends_leaves_no_weights(hanging_server: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SYNC, hanging_server, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2, done.stderr
    assert "the sync of weights into the engine did not end within 10 s" in done.stdout
    assert Server.weights == ["model-00000.safetensors"]
    assert list(tmp_path.iterdir()) == []


def test_processes_that_make_folders_at_the_same_time_leave_one_another_theirs(tmp_path: Path) -> None:
    def make(_: int) -> bool:
        with scratch_folder("weights", str(tmp_path)) as folder:
            (folder / "shard").touch()
        return True

    with ThreadPoolExecutor(
        8
    ) as threads:  # a lock belongs to an open file, so that threads shut one another out as well
        assert all(threads.map(make, range(400)))
    assert list(tmp_path.iterdir()) == []
