"""Mistakes in configs and on the command line: one line that names the key, and the file and line of a config, and says what to
write; exit status 2, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from int_lightning.__main__ import main

from commands import MINI

COLLECT = f"collect -c {MINI}/collect.yaml --engine.name=transformers"
SFT = f"fit -c {MINI}/sft.yaml --data.init_args.collect_config=null"
GRPO = f"fit -c {MINI}/grpo.yaml"
EVALUATE = f"evaluate -c {MINI}/evaluate.yaml --engine.name=transformers"
RUN = f"run -c {MINI}/run.yaml"
TWO = "--trainer.accelerator=cpu --trainer.devices=2"
MESH = (
    "on 2 process(es), which would not train one model: write {class_path: ModelParallelStrategy, init_args: "
    "{data_parallel_size: 2, tensor_parallel_size: 1}}"
)

ON_THE_COMMAND_LINE = [
    (f"{COLLECT} --out=", "--out is empty: give the folder"),
    (f"{COLLECT} --limt 3", "unknown key --limt: did you mean --limit?"),
    (f"{GRPO} --limt 3", "did you mean --data.init_args.limit?"),
    (f"{SFT} --batch_size 3", "did you mean --data.init_args.batch_size?"),
    (f"{SFT} --lr 0.1", "did you mean --model.init_args.optimizer.init_args.lr?"),
    (f"{COLLECT} --collection.atempts=3", "did you mean --collection.attempts?"),
    (f"{COLLECT} --collection.sampling.temprature=1", "did you mean --collection.sampling.temperature?"),
    (f"{COLLECT} --collection.attempts=many", "collection.attempts takes a whole number, not 'many'"),
    (
        f"{COLLECT} --collection.attempts=3.5",
        "collection.attempts takes a whole number, not 3.5: write it without a decimal",
    ),
    (f"{COLLECT} --collection.attempts=0", "collection.attempts is 0: give at least 1"),
    (f"{COLLECT} --collection=5", "collection takes keys, not 5: write collection: {attempts: ...}"),
    (f"{COLLECT} --collection.leakage=statd", "did you mean stated?"),
    (f"{COLLECT} --collection.categories=yess", "collection.categories takes true or false, not 'yess'"),
    (f"{COLLECT} --oracle Polic", "no Oracle is named 'Polic': did you mean PolicyOracle?"),
    (f"{COLLECT} --oracle Telepathy", "write PolicyOracle, GradeSchoolOracle, ServerOracle or AnnotationOracle"),
    (f"{COLLECT} --oracle.proposal 3", "did you mean --oracle.init_args.proposals?"),
    (f"{COLLECT} --oracle.proposals=0", "oracle.proposals is 0: give at least 1"),
    (f"{COLLECT} --oracle AnnotationOracle", "AnnotationOracle needs oracle.init_args.file"),
    (f"{COLLECT} --oracle ServerOracle", "needs oracle.init_args.base_url and oracle.init_args.model"),
    (f"{COLLECT} --oracle torch.optim.AdamW", "torch.optim.AdamW is not a subclass of Oracle"),
    (f"{COLLECT} --oracle nowhere.Mine", "the module 'nowhere' does not exist: put nowhere.py into"),
    (f"{COLLECT} --oracle int_lightning.oracle.base.Oracle", "did you mean int_lightning.oracles?"),
    (f"{COLLECT} --oracle int_lightning.collect.oracles.PolicyOracle", "has moved: write PolicyOracle, which needs no"),
    (f"{COLLECT} --oracle my.py:Mine", "write my.Mine, with the file in the working directory or beside the config"),
    (f"{COLLECT} --oracle ProgramOracle", "ProgramOracle lacks first_error"),
    (f"{COLLECT} --executor slurm", "executor takes one of local, ray, not 'slurm'"),
    (f"{COLLECT} --actors 0", "actors takes a whole number above 0, not 0"),
    (f"{COLLECT} --decontaminate x.csv", "x.csv: no such file"),
    (f"{COLLECT} --decontaminate [x.csv", "--decontaminate: not YAML: a bracket or brace is not closed"),
    (f"{COLLECT} --limit=-1", "limit is -1: give at least 1"),
    (f"{COLLECT} --limit", "--limit needs a value: write --limit VALUE"),
    (f"{COLLECT} --prompts nowhere", "prompt set 'nowhere'"),
    (f"{COLLECT} --model nowhere", "model 'nowhere': no such folder"),
    (f"{COLLECT} --problems mini:hard-trainn", "no split 'hard-trainn'"),
    (f"{COLLECT} --quarantine_limit=2", "quarantine_limit is 2.0"),
    (f"{COLLECT} --engine.max_model_len=0", "engine.max_model_len is 0: give at least 1"),
    (f"{COLLECT} --engine.threads=-1", "engine.threads is -1"),
    (f"{COLLECT} --engine.gpu_memory_utilization=45", "engine.gpu_memory_utilization is 45.0"),
    (f"{COLLECT} --engine.name=vlm", "engine.name takes one of auto, vllm, transformers, server, not 'vlm'"),
    (f"{COLLECT} --engine vllm", "engine takes keys, not 'vllm': write engine: {name: ...}"),
    (f"{COLLECT} --seed_everything=-1", "seed_everything is -1"),
    (f"{COLLECT} --seed_everything=x", "seed_everything takes true or false or a whole number, not 'x'"),
    (f"{COLLECT} --data.init_args.steps 8", "unknown key --data: collect takes"),
    (f"{SFT} --model.init_args.lora true", "model.init_args.lora takes a mapping such as {rank: 16} or null, not true"),
    (f"{SFT} --model.init_args.lora {{rank:8}}", "a space is missing after the colon: write rank: 8"),
    (f"{SFT} --model.init_args.lora.rank=0", "lora.rank: 0 is not a rank"),
    (f"{SFT} --model.init_args.dtype=float16", "model.init_args.dtype takes one of float32, bfloat16, not 'float16'"),
    (f"{SFT} --model.init_args.max_grad_norm=-1", "model.max_grad_norm is -1.0"),
    (f"{SFT} --model.init_args.optimizer AdamX", "no Optimizer is named 'AdamX': did you mean Adam?"),
    (
        f"{SFT} --model.init_args.scheduler WarmupCosin",
        "no LRScheduler is named 'WarmupCosin': did you mean WarmupCosine?",
    ),
    (f"{SFT} --model GRPOModule", "model GRPOModule does not train on data InterventionData"),
    (f"{SFT} --data runs/x", "data takes the name of a class, not 'runs/x': write data.init_args.folder: runs/x"),
    (f"{SFT} --data RolloutData", "RolloutData needs data.init_args.problems"),
    (f"{SFT} --data.init_args.folder gone", "gone holds no row"),
    (f"{SFT} --data.batch_size few", "data.init_args.batch_size takes a whole number, not 'few'"),
    (f"{SFT} --data.init_args.validation=2", "data.validation is 2.0"),
    (f"{SFT} --data.init_args.collect_config=gone.yaml --data.init_args.folder=gone", "gone.yaml does not exist"),
    (f"{SFT} --data.init_args.weights.sufix=1", "data.weights names sufix"),
    (f"{SFT} --data.init_args.streaming=true", "data.steps goes with data.streaming"),
    (f"{GRPO} --data.init_args.rollouts_per_prompt=1", "data.rollouts_per_prompt is 1"),
    (f"{GRPO} --data.init_args.prompts_per_batch=0", "data.prompts_per_batch is 0"),
    (f"{GRPO} --data.init_args.steps=0", "data.steps is 0"),
    (f"{GRPO} --data.init_args.groups.advantage=meen", "did you mean mean?"),
    (f"{GRPO} --data.init_args.rewards=json.dumps", "data.init_args.rewards takes a list of mappings such as {path:"),
    (f"{GRPO} --data.init_args.rewards=[{{path: json.dumpz}}]", "has no 'dumpz': write json.dump"),
    (f"{GRPO} --data.init_args.rewards=[{{path: short}}]", "data.rewards: 'short' does not name a module"),
    (f"{GRPO} --data.init_args.rewards=[{{path: gone.py:short}}]", "data.rewards: the file gone.py does not exist"),
    (f"{GRPO} --data.init_args.validation=gone.jsonl", "gone.jsonl"),
    (f"{GRPO} --model.init_args.objective.kl=k4", "model.init_args.objective.kl takes one of k1, k2, k3, not 'k4'"),
    (
        f"{GRPO} --model.init_args.objective.kl=k1",
        "model.init_args.objective.kl is k1, whose gradient is 0 in expectation",
    ),
    (f"{GRPO} --model.init_args.objective.clip_low=-1", "clip_low"),
    (f"{GRPO} --model.init_args.clip_low=0.1", "did you mean --model.init_args.objective.clip_low?"),
    (f"{GRPO} --model.init_args.ratio=sequence", "did you mean --model.init_args.objective.ratio?"),
    (
        f"{GRPO} --model.init_args.optimizer.init_args.lr=-1",
        "model.optimizer or model.scheduler does not take its init_args",
    ),
    (
        f"{GRPO} --model.init_args.optimizer.init_args.lr=.inf",
        "does not take its init_args: the learning rate is not finite",
    ),
    (f"{GRPO} --data.init_args.prompts=math", "reads only mini:SPLIT, with the prompt set mini"),
    (f"{GRPO} --trainer.max_stesp=3", "did you mean --trainer.max_steps?"),
    (f"{GRPO} --trainer.logger wandb", "no Logger is named 'wandb': did you mean WandbLogger?"),
    (f"{GRPO} --trainer.accelerator gpuu", "accelerator"),
    (f"{GRPO} --trainer.devices=0", "devices"),
    (f"{GRPO} {TWO} --trainer.strategy=ddp_spawn", "starts its processes by fork or spawn"),
    (
        f"{GRPO} {TWO} --engine.name=vllm --engine.tensor_parallel_size=3",
        "engine.tensor_parallel_size is 3, and the fit has 2 process(es): an engine spans that many of them. Set "
        "trainer.devices to a multiple of it, or engine.tensor_parallel_size to 1",
    ),
    (
        f"{GRPO} {TWO} --engine.tensor_parallel_size=2",
        "engine.tensor_parallel_size is 2, which engine.name transformers would ignore: set engine.name to vllm, or",
    ),
    (
        f"{EVALUATE} --engine.name=server --engine.tensor_parallel_size=2",
        "start the server with --tensor-parallel-size 2",
    ),
    (f"{GRPO} --checkpoint_every=-1", "checkpoint_every takes a whole number above 0, not -1"),
    (f"{GRPO} -o x", "did you mean --out?"),
    (f"validate -c {MINI}/grpo.yaml", "there is nothing to validate on: give --data.init_args.validation"),
    (
        f"{EVALUATE} --problems mini:easy",
        "problems takes a mapping of names to",
    ),
    (f"{EVALUATE} --evaluation.k 8", "evaluation.k takes a list of whole numbers, not 8: write [8]"),
    (f"{EVALUATE} --evaluation.k=[64]", "evaluation.k asks for pass@64 of 32 rollouts"),
    (f"{EVALUATE} --evaluation.k=[0]", "evaluation.k is [0]"),
    (f"{EVALUATE} --problems=null", "there is nothing to evaluate on"),
    (f"{EVALUATE} --problems={{'':mini:easy}}", "problems has an entry without a name: write problems: {NAME: ...}"),
    (f"{EVALUATE} --evaluation.rollouts=!!python/none", "--evaluation.rollouts: no key takes a value with the tag"),
    (f"{RUN} --collect=gone.yaml", "-c gone.yaml: no such file"),
    (f"{RUN} --problems x", "unknown key --problems: run takes"),
    (f"fit {MINI}/sft.yaml", f"write -c {MINI}/sft.yaml"),
    (f"fit -c {MINI}/sft.yml", f"no such file: did you mean {MINI}/sft.yaml?"),
    (f"fit -c {MINI}", "this is a folder: give a YAML file"),
    ("fit -c", "-c needs a value"),
    ("fit --model GRPOModule", "fit needs data"),
    ("ft", "unknown command 'ft': did you mean fit?"),
    ("--out x fit", "--out stands before the command"),
    ("inspect", "the following arguments are required: run"),
    ("inspect gone --limt 3", "did you mean --limit?"),
    ("inspect gone", "gone holds no collection"),
    ("grade gone.jsonl", "gone.jsonl: cannot be read"),
    ("grade", "the following arguments are required: file"),
]

GRPO_WITH = "model: GRPOModule\ndata:\n  class_path: RolloutData\n  init_args:\n    problems: mini:easy\n"
MODEL_PARALLEL = "trainer:\n  accelerator: cpu\n  devices: 2\n  strategy: {class_path: ModelParallelStrategy"
CALLBACK = "trainer:\n  callbacks:\n  - class_path: InterveneOnFailedGroups\n    init_args: "
IN_A_CONFIG = [
    ("fit", "", ": the file is empty"),
    ("fit", "- a\n- b\n", ", line 1: this is not of the form `key: value`"),
    ("fit", "out: a\nout: b\n", ", line 2: the key out is already in line 1"),
    ("fit", "engine:\n  dtype: float32\n  dtype: bfloat16\n", ", line 3: the key dtype is already in line 2"),
    ("fit", "out: a: b\n", ", line 1: not YAML: a second `: ` in one line"),
    ("fit", "model:\n\tclass_path: GRPOModule\n", ", line 2: not YAML: a tab is where YAML needs spaces"),
    ("fit", "model: {class_path: GRPOModule\n", "not YAML: a bracket or brace is not closed"),
    ("fit", "engine:\n  name: auto\n threads: 1\n", ", line 3: not YAML: the indentation does not match"),
    ("fit", "out: x\nmodel: !!python/name:os.system\n", ", line 2: no key takes a value with the tag !!python/name"),
    ("fit", "trainer:\n  callbacks:\n  - !mine x\n", ", line 3: no key takes a value with the tag !mine: write the"),
    ("fit", "model: GRPOModule\n", "fit needs data: give a config"),
    (
        "fit",
        "model:\n  class_path: GRPOModul\n",
        ", line 2: model.class_path: no PolicyModule is named 'GRPOModul': did you",
    ),
    (
        "fit",
        "model:\n  class_path: GRPOModule\n  lr: 3\n",
        ", line 3: unknown key model.lr: did you mean model.init_args.opt",
    ),
    ("fit", "model:\n  class_path: GRPOModule\n  model: mini\n", ", line 3: model.model belongs a level deeper"),
    (
        "fit",
        "model: {init_args: {model: mini}}\n",
        "model takes a class: write model: {class_path: GRPOModule or SFTModule",
    ),
    (
        "fit",
        f"{GRPO_WITH}    groups: {{advantage: meen}}\n",
        ", line 6: data.init_args.groups.advantage takes one of mean, stan",
    ),
    (
        "fit",
        f"{GRPO_WITH}    rewards: [{{pth: a.b}}]\n",
        ", line 6: unknown key data.init_args.rewards[0].pth: did you mean",
    ),
    ("fit", f"{GRPO_WITH}    rewards: a.b\n", "write [{path: a.b}]"),
    ("fit", f"{GRPO_WITH}    sampling: 5\n", ", line 6: data.init_args.sampling takes keys, not 5"),
    (
        "fit",
        f"{GRPO_WITH}    stpes: 5\n",
        ", line 6: unknown key data.init_args.stpes: did you mean data.init_args.steps?",
    ),
    (
        "fit",
        f"{GRPO_WITH}    prompts: [mini]\n",
        ", line 6: data.init_args.prompts takes text, not ['mini']: write mini",
    ),
    (
        "fit",
        "model: GRPOModule\ndata:\n  class_path: RolloutData\n  init_args: [1]\n",
        ", line 4: data.init_args takes keys",
    ),
    (GRPO, "data: null\n", "fit needs data"),
    (GRPO, "trainer.max_stesp: 3\n", ", line 1: unknown key trainer.max_stesp: did you mean trainer.max_steps?"),
    (GRPO, f"{MODEL_PARALLEL}}}\n", f"data_parallel_size 1 and tensor_parallel_size 2 {MESH}"),
    (
        GRPO,
        f"{MODEL_PARALLEL}, init_args: {{data_parallel_size: 2, tensor_parallel_size: 2}}}}\n",
        f"data_parallel_size 2 and tensor_parallel_size 2 {MESH}",
    ),
    (GRPO, "trainer: 3\n", ", line 1: trainer takes keys, not 3"),
    (GRPO, "trainer:\n  max_steps: many\n", ", line 2: trainer.max_steps takes a whole number, not 'many'"),
    (
        GRPO,
        f"{CALLBACK}{{use: bothh}}\n",
        ", line 4: trainer.callbacks[0].init_args.use takes one of guided, sft, both, not",
    ),
    (
        GRPO,
        CALLBACK.replace("Groups", "Group") + "{}\n",
        "no Callback is named 'InterveneOnFailedGroup': did you mean Int",
    ),
    (
        GRPO,
        f"{CALLBACK}{{oracle: {{class_path: PolicyOracle, init_args: {{sampling: {{max_token: 3}}}}}}}}\n",
        ", line 4: unknown key",
    ),
    (
        COLLECT,
        "problems:\n- {path: a.jsonl, colums: {answer: x}}\n",
        "a source has no key 'colums' (did you mean 'columns'?)",
    ),
    (COLLECT, "problems:\n- {path: a.jsonl, columns: [a, b]}\n", "columns is ['a', 'b']: give a mapping such as"),
    (COLLECT, "problems:\n- {weight: 2}\n", "a source of problems has weight and no path: give a path"),
    (
        COLLECT,
        "oracle:\n  name: x\n",
        ", line 2: unknown key oracle.name: oracle takes class_path, init_args, proposals",
    ),
    (COLLECT, "oracle:\n  class_path: 3\n", ", line 2: oracle.class_path takes the name of a class, not 3"),
    (COLLECT, "colection:\n  attempts: 3\n", ", line 1: unknown key colection: did you mean collection?"),
    (EVALUATE, "problems: [mini:easy]\n", ", line 1: problems takes a mapping of names to"),
    ("run", "collect: x.yaml\n", "run needs sft and grpo and evaluate"),
]


def said_by(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Runs a command that must be refused; returns its one line."""
    monkeypatch.chdir(tmp_path)
    if words[0] in ("collect", "fit", "validate", "evaluate", "run") and len(words) > 2:
        words = [words[0], f"--out={tmp_path / 'out'}", *words[1:]]
    status = main(words)
    said = capfd.readouterr()
    lines = said.err.splitlines()
    assert status == 2, said
    assert "Traceback" not in said.out
    assert len(lines) == 1, lines
    assert lines[0].startswith("int-lightning: ")
    assert len(lines[0]) < 500
    return lines[0]


@pytest.mark.parametrize(("command", "part"), ON_THE_COMMAND_LINE, ids=[p[:60] for _, p in ON_THE_COMMAND_LINE])
def test_a_mistake_on_the_command_line_is_one_line(
    command: str, part: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = command.replace("{path: ", "{path:\0").split(" ")
    assert part in said_by([w.replace("\0", " ") for w in words], tmp_path, capfd, monkeypatch)


@pytest.mark.parametrize(("command", "text", "part"), IN_A_CONFIG, ids=[p[:60] for _, _, p in IN_A_CONFIG])
def test_a_mistake_in_a_config_is_one_line_with_its_file(
    command: str,
    text: str,
    part: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(text)
    said = said_by([*command.split(" "), "-c", str(config)], tmp_path, capfd, monkeypatch)
    assert part in said
    if part.startswith((",", ":")):
        assert str(config) in said
