"""A defect of a model folder is named in one line, with the file, before anything is sampled or trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from int_lightning.__main__ import main
from int_lightning.engines import vllm
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.opening import open_engine
from int_lightning.engines.vllm_start import of_one_model
from int_lightning.learn.export import export
from int_lightning.learn.model import load_policy
from int_lightning.model_folder.check import check_model_folder, context_of, load_config
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.model_folder.weights import weights_of_folder
from int_lightning.models.resolve import fingerprint, resolve_model
from int_lightning.types import UserError

from commands import MINI, PORTABLE_ENGINE
from model_folders import Change, changed, in_hub_cache, remove, settings, tensors, write

DOWN = "model.layers.0.mlp.down_proj.weight"
EMBEDDING = "model.embed_tokens.weight"
PORTABLE = EngineConfig(name="transformers", max_model_len=128)


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def smaller_vocabulary(folder: Path) -> None:
    tensors(lambda held: held.update({EMBEDDING: held[EMBEDDING][:20].clone()}))(folder)
    settings("config.json", vocab_size=20)(folder)


def half_an_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {DOWN: "model-1.safetensors", EMBEDDING: "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (tensors(lambda held: held.pop(DOWN)), rf"model\.safetensors: tensor {DOWN} is missing"),
        (settings("config.json", intermediate_size=128), r"model\.safetensors: tensor .* has shape .* asks for"),
        (cut_short, r"model\.safetensors cannot be read .* cut short"),
        (write("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"), r"model\.safetensors .* Git LFS"),
        (half_an_index, r"model-2\.safetensors is missing"),
        (remove("model.safetensors"), r"model\.safetensors is missing"),
        (write("config.json", '{"model_type":'), r"config\.json cannot be read"),
        (write("config.json", bytes(range(256))), r"config\.json cannot be read"),
        (write("config.json", "[" * 100_000), r"config\.json cannot be read"),
        (settings("config.json", model_type="of-my-own"), r"config\.json cannot be used.*of-my-own"),
        (settings("config.json", num_attention_heads="two"), r"config\.json cannot be used.*num_attention_heads"),
        (write("tokenizer.json", "{}"), r"tokenizer.* cannot be loaded"),
        (write("tokenizer.json", '{"version": "1.0", "added'), r"tokenizer\.json cannot be read"),
        (write("generation_config.json", "{"), r"generation_config\.json cannot be read"),
        (write("adapter_config.json", "{}"), r"adapter_config\.json"),
        (smaller_vocabulary, r"tokenizer\.json has 16 tokens beyond config\.json's vocab_size 20"),
        (settings("generation_config.json", eos_token_id=7), r"generation_config\.json says that token 7 .*'2'"),
        (settings("generation_config.json", eos_token_id=[1, 99]), r"generation_config\.json says that token 99"),
    ],
)
def test_a_damaged_folder_is_named_with_the_file(tmp_path: Path, change: Change, said: str) -> None:
    folder = changed(tmp_path / "model", change)
    with pytest.raises(UserError, match=said) as caught:
        resolve_model(folder)
    assert folder in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_that_is_no_number_is_named_before_it_is_loaded(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    def spoil(held: dict[str, torch.Tensor]) -> None:
        held[DOWN] = held[DOWN].to(dtype)
        held[DOWN][3, 2] = value

    folder = changed(tmp_path / "model", tensors(spoil))
    for load in (lambda: open_engine(folder, PORTABLE), lambda: load_policy(folder, dtype=torch.float32)):
        with pytest.raises(UserError, match=rf"model\.safetensors: tensor {DOWN} holds NaN or infinity"):
            load()


@pytest.mark.skipif(not vllm.available(), reason="vLLM is not installed")
@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_every_engine_refuses_what_it_would_fill_in_or_run_over(tmp_path: Path, engine: str) -> None:
    whole = resolve_model("mini")
    with pytest.raises(UserError, match=r"engine\.max_model_len is 4096.* 512 tokens.*max_position_embeddings"):
        open_engine(whole, EngineConfig(name=engine))
    nan = changed(tmp_path / "nan", tensors(lambda held: held[EMBEDDING].fill_(float("nan"))))
    with pytest.raises(UserError, match=EMBEDDING):
        open_engine(nan, EngineConfig(name=engine, max_model_len=128))


@pytest.mark.parametrize("command", ["collect", "evaluate", "fit", "inspect", "onpolicy"])
def test_no_command_goes_past_a_missing_tensor(
    tmp_path: Path, dataset: Path, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = changed(tmp_path / "model", tensors(lambda held: held.pop(DOWN)))
    out = f"--out={tmp_path / 'out'}"
    arguments = {
        "collect": ["collect", "-c", str(MINI / "collect.yaml"), out, PORTABLE_ENGINE, f"--model={folder}"],
        "evaluate": ["evaluate", "-c", str(MINI / "evaluate.yaml"), out, PORTABLE_ENGINE, f"--model={folder}"],
        "fit": [
            *["fit", "-c", str(MINI / "sft.yaml"), out, f"--data.init_args.folder={dataset}"],
            f"--model.init_args.model={folder}",
        ],
        "inspect": ["inspect", str(dataset), f"--model={folder}"],
        "onpolicy": [
            "evaluate",
            out,
            f"--onpolicy={{mine: {{folder: {dataset}, target: reference}}}}",
            f"--model={folder}",
        ],
    }
    assert main(arguments[command]) == 2
    assert f"tensor {DOWN} is missing" in " ".join(capfd.readouterr().err.split())


def test_files_of_other_names_are_nobodys_weights(tmp_path: Path) -> None:
    other = {"layers.0.w": torch.ones(3)}
    folder = changed(tmp_path / "model", lambda f: save_file(other, f / "consolidated.safetensors"))
    assert fingerprint(folder) == fingerprint(resolve_model("mini"))
    engine = open_engine(resolve_model(folder), PORTABLE)
    engine.load_weights(weights_of_folder(folder))
    with of_one_model(folder) as shown:
        whole = Path(resolve_model("mini"))
        assert {f.name for f in Path(shown).iterdir()} == {f.name for f in whole.iterdir()}
        assert (Path(shown) / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not Path(shown).exists()
    with of_one_model(str(whole)) as shown:
        assert shown == str(whole)


def test_weights_of_a_hub_id_are_those_of_its_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_hub_cache(monkeypatch, tmp_path, "some/mini", resolve_model("mini"))
    fetched, own = (dict(weights_of_folder(name)) for name in ("some/mini", resolve_model("mini")))
    assert fetched.keys() == own.keys()
    assert all(fetched[name].equal(own[name]) for name in own)
    with pytest.raises(UserError, match=r"'some/other': its weights cannot be fetched .*: give the path of a model"):
        dict(weights_of_folder("some/other"))


def test_a_report_says_what_the_folder_holds(tmp_path: Path) -> None:
    report = check_model_folder(changed(tmp_path / "model", settings("config.json", attention_dropout=0.1)))
    assert (report.architecture, report.parameters, report.context) == ("Qwen3ForCausalLM", 336_096, 512)
    assert set(report.ends) == {"chat template", "tokenizer", "generation_config.json"}
    assert "ends at <|end|>" in str(report)
    assert "dropout attention_dropout 0.1" in str(report)


@pytest.mark.parametrize(
    ("rope", "context"),
    [
        ({"rope_type": "default", "rope_theta": 1e4}, 512),
        ({"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 512}, 2048),
    ],
)
def test_a_context_is_as_long_as_its_rotations(tmp_path: Path, rope: dict[str, object], context: int) -> None:
    assert (
        context_of(load_config(changed(tmp_path / "model", settings("config.json", rope_parameters=rope)))) == context
    )


def test_an_exported_bfloat16_model_says_so_and_names_all_its_ends(tmp_path: Path) -> None:
    mini = changed(tmp_path / "source", settings("generation_config.json", eos_token_id=0))
    export(load_policy(mini, dtype=torch.bfloat16), tmp_path / "model", load_tokenizer(mini), is_writer=True)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    assert json.loads((tmp_path / "model" / "generation_config.json").read_text())["eos_token_id"] == [0, 1]
    with safe_open(tmp_path / "model" / "model.safetensors", framework="pt") as held:
        assert held.get_tensor(DOWN).dtype == torch.bfloat16


def test_a_model_whose_sampling_settings_contradict_each_other_is_exported(tmp_path: Path) -> None:
    given = {"do_sample": False, "temperature": 0.7, "top_p": 0.8}
    mini = changed(tmp_path / "source", settings("generation_config.json", **given))
    export(load_policy(mini, dtype=torch.float32), tmp_path / "model", load_tokenizer(mini), is_writer=True)
    written = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert (written["temperature"], written["top_p"]) == (0.7, 0.8)
