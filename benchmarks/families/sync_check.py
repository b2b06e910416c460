"""Whether vLLM takes a family's trained weights."""

from __future__ import annotations

import os
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.families.tiny_models import FAMILIES, tiny_model
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.learn.model import Policy, load_policy
from int_lightning.learn.sync import sync, verify
from int_lightning.types import UserError

NOT_IN_VLLM = "not in vLLM"


def checked(family: str, folder: Path) -> str:
    """Starts vLLM from a folder of random weights, and gives it others."""
    from vllm import ModelRegistry

    if FAMILIES[family] not in ModelRegistry.get_supported_archs():
        return NOT_IN_VLLM
    tiny_model(family, folder)
    try:
        policy = load_policy(str(folder), dtype=torch.float32)
        engine = open_engine(str(folder), EngineConfig(name="vllm", max_model_len=128, max_num_seqs=8, threads=1))
    except UserError as error:
        return f"refused: {_line(error, folder)}"
    try:
        verify(policy, engine)
    except UserError as error:
        return f"refused, with the folder's own weights: {_line(error, folder)}"
    train(policy)
    try:
        gap = sync(policy, engine)
    except UserError as error:
        return f"refused: {_line(error, folder)}"
    return f"equal, {gap:.1g} nats"


@torch.no_grad()
def train(policy: Policy) -> None:
    """Moves every weight, as far as many steps would."""
    for weight in policy.parameters():
        weight += 0.1 * weight.abs().mean() * torch.randn_like(weight)


def _line(error: UserError, folder: Path) -> str:
    return " ".join(str(error).replace(str(folder), "the folder").split())


def report(family: str, answer: Connection) -> None:
    """Sends what became of a family, and ends this process, which vLLM's threads would outlive."""
    with TemporaryDirectory() as folder:
        try:
            answer.send(checked(family, Path(folder)))
        except BaseException as error:
            answer.send(f"raised {type(error).__name__}: {' '.join(str(error).split())}")
    os._exit(0)


def answer_of(family: str, seconds: float) -> str:
    """The same from a process of its own, which has so many seconds."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["vllm", __name__])  # imports that take longer than what is checked
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=report, args=(family, sender), daemon=True)
    process.start()
    sender.close()
    try:
        answer = str(receiver.recv()) if receiver.poll(seconds) else f"no answer in {seconds:.0f} s"
    except EOFError:
        process.join()
        answer = f"ended with status {process.exitcode}"
    process.kill()
    return answer
