"""Under every engine, a model stops at the ends that its template, its tokenizer or its configuration names."""

from __future__ import annotations

from pathlib import Path

import pytest

from int_lightning.engines import vllm
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.mini.world import load_split
from int_lightning.model_folder.ends import end_tokens, ends_by_source
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.models.resolve import resolve_model
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import Sampling, UserError

from commands import fit_grpo
from model_folders import STYLES, Change, changed, one_token_model, remove, settings

PAD, END, USER, TEXT = 0, 1, 3, 9
CONFIG = EngineConfig(name="transformers", max_model_len=128, threads=1)
PROMPTS = [encode_chat(build_tokenizer(), PromptSet("mini").solve(p)) for p in load_split("easy", 6)]
GREEDY = Sampling(max_tokens=48, temperature=0.0)


def no_end_but_the_templates(folder: Path) -> None:
    for file in ("config.json", "generation_config.json"):
        settings(file, eos_token_id=PAD)(folder)
    settings("tokenizer_config.json", eos_token="<|pad|>")(folder)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("eos_token", "'<|end|>'"))


def no_end_but_the_tokenizers(folder: Path) -> None:
    for file in ("config.json", "generation_config.json"):
        settings(file, eos_token_id=None)(folder)


def no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


FOLDERS: dict[str, Change] = {
    "no generation_config.json": remove("generation_config.json"),
    "the configuration names another": settings("generation_config.json", eos_token_id=PAD),
    "the template's alone": no_end_but_the_templates,
    "the tokenizer's alone": no_end_but_the_tokenizers,
}


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_the_same_rollouts_end_with_the_same_tokens(tmp_path: Path, name: str, engine: str) -> None:
    if engine == "vllm" and not vllm.available():
        pytest.skip("vLLM is not installed")
    expected = TransformersEngine(resolve_model("mini"), CONFIG).generate(PROMPTS, GREEDY, range(6))
    folder = changed(tmp_path / "model", FOLDERS[name])
    config = EngineConfig(name=engine, max_model_len=128, max_num_seqs=32, threads=1)
    found = open_engine(folder, config).generate(PROMPTS, GREEDY, range(6))
    assert [c.token_ids.tolist() for c in found] == [c.token_ids.tolist() for c in expected]
    assert {(c.token_ids[-1], c.finish) for c in found} == {(END, "stop")}


@pytest.mark.parametrize("style", STYLES)
def test_a_model_of_every_style_stops_at_any_end_and_at_nothing_else(tmp_path: Path, style: str) -> None:
    for token, stops in [(END, True), (USER, True), (PAD, False), (TEXT, False)]:
        folder = one_token_model(tmp_path / f"{style}-{token}", style, token)
        settings("generation_config.json", eos_token_id=[END, USER])(Path(folder))
        (completion,) = TransformersEngine(folder, CONFIG).generate(PROMPTS[:1], Sampling(4, temperature=0.0), [0])
        assert completion.token_ids.tolist() == ([token] if stops else [token] * 4)
        assert completion.finish == ("stop" if stops else "length")


def test_ends_are_told_apart_by_who_names_them(tmp_path: Path) -> None:
    folder = changed(tmp_path / "model", settings("generation_config.json", eos_token_id=[PAD, USER]))
    found = ends_by_source(folder, load_tokenizer(folder))
    assert found == {"chat template": [END], "tokenizer": [END], "generation_config.json": [PAD, USER]}
    assert end_tokens(folder) == [PAD, END, USER]


def test_a_folder_that_names_no_end_is_refused(tmp_path: Path) -> None:
    folder = changed(
        tmp_path / "model", no_template, no_end_but_the_tokenizers, settings("tokenizer_config.json", eos_token=None)
    )
    with pytest.raises(UserError, match="nothing says where a completion ends"):
        resolve_model(folder)


def test_files_that_disagree_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resolve_model(changed(tmp_path / "agreed", settings("generation_config.json", eos_token_id=[END, PAD])))
    assert "different ends" not in capsys.readouterr().out
    resolve_model(changed(tmp_path / "model", settings("generation_config.json", eos_token_id=PAD)))
    said = " ".join(capsys.readouterr().out.split())
    assert "different ends (chat template: <|end|>; tokenizer: <|end|>; generation_config.json: <|pad|>)" in said


def test_a_tokenizer_without_a_token_to_pad_with_trains_padded(tmp_path: Path) -> None:
    folder = changed(tmp_path / "model", settings("tokenizer_config.json", pad_token=None))
    assert load_tokenizer(folder).pad_token_id is None
    sizes = ["--data.init_args.steps=1", "--data.init_args.packing=false", "--engine.name=transformers"]
    assert fit_grpo(tmp_path / "out", *sizes, f"--model.init_args.model={folder}") == 0
