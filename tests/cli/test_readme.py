"""Every command of README and CONTRIBUTING, read from their text: run here at a reduced size, or parsed. A command that this does
not know fails."""

from __future__ import annotations

import re
import shlex
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from int_lightning.__main__ import main
from int_lightning.cli.shipped import SHIPPED
from int_lightning.collect.store import Store
from int_lightning.inspection.command import _parser as inspect_parser
from int_lightning.oracles.base import Oracle
from int_lightning.types import Intervention, Proposal

from commands import ENGINE, ROOT, SMALL_COLLECT
from test_configs import ParsedOnlyError, ParseOnly

TEXTS = ("README.md", "CONTRIBUTING.md")
OURS = ("collect", "fit", "validate", "evaluate", "run")
SPAN = re.compile(r"`((?:int-lightning|make|python|pytest|pre-commit|sha256sum|\w+=\S+ pytest)\b[^`]*)`")


@dataclass(frozen=True)
class Command:
    """A command of a text: settings of its environment, and its words."""

    text: str
    environment: dict[str, str]
    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)[:90]


def commands() -> list[Command]:
    """Those of fenced blocks and of spans that begin with a program's name."""
    found = []
    for name in TEXTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        blocks = [block for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M) if not language]
        shown = [b for b in blocks if not re.search(r"[┏│]|^int_lightning/$", b, re.M)]
        lines = [line for b in shown for line in b.replace("\\\n", " ").splitlines()]
        spans = [" ".join(span.split()) for span in SPAN.findall(re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))]
        found += [command(name, line) for line in [*lines, *spans] if line.strip()]
    return list({(c.words, tuple(c.environment)): c for c in found}.values())


def command(text: str, line: str) -> Command:
    """A line without its remark, in words."""
    words = shlex.split(line.split(" # ")[0].rstrip("& "))
    environment = {}
    while "=" in words[0]:
        key, _, environment[key] = words.pop(0).partition("=")
    words[0] = words[0].removeprefix(".venv/bin/")
    return Command(text, environment, tuple(words))


ALL = commands()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that sees configs and package as a checkout does, and keeps its own runs."""
    for name in ("configs", "int_lightning", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_texts_have_their_commands() -> None:
    assert {c.words[1] for c in ALL if c.words[0] == "int-lightning"} >= {*OURS[:2], "evaluate", "inspect", "grade"}
    assert len(ALL) > 35


@pytest.mark.parametrize("given", ALL, ids=str)
def test_a_command_of_the_texts_is_one_that_there_is(given: Command, elsewhere: Path) -> None:
    program, *words = given.words
    if program == "int-lightning":
        _ours(words)
    elif program == "make":
        rules = (ROOT / "Makefile").read_text()
        assert re.search(rf"^{words[0]}:", rules, re.M), words
    elif program == "python" and words[0] == "-m" and words[1].startswith("benchmarks."):
        source = (ROOT / words[1].replace(".", "/")).with_suffix(".py").read_text()
        assert all(f'"{option}"' in source for option in words[2:] if option.startswith("--")), words
    elif program == "python" and words[0] == "-m":
        assert words[1] in ("int_lightning.mini.make", "vllm.entrypoints.openai.api_server"), words
        assert words[1].startswith("vllm") or words[2:] == ["untrained"]
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert re.search(r"\[(\w+)\]", words[-1])[1] in extras
    elif program == "pytest":
        assert (ROOT / words[0]).is_file()
    else:
        assert given.words[:2] in {("ray", "start"), ("vllm", "serve"), ("pre-commit", "install"), ("sha256sum", "-c")}


def _ours(words: list[str]) -> None:
    """Parses one of our commands."""
    command, *rest = words
    if command == "inspect":
        inspect_parser().parse_args([w for w in rest if w not in ("[--html", "FILE]")] or ["RUN"])
    elif command in OURS and rest and not {"...", "--help"} & set(rest):
        rest = [{"GRPO.yaml": "configs/mini/grpo.yaml"}.get(w, w) for w in rest]
        if not {"-c", "--source"} & set(rest):
            return  # the mention of a part of a command
        with pytest.raises(ParsedOnlyError), ExitStack() as resources:
            ParseOnly([command, *rest], resources)
    else:
        assert command in (*OURS, "grade", "COMMAND"), words


def small(words: tuple[str, ...]) -> list[str]:
    """One of the mini world's commands, at a size for a test."""
    command, config = words[1], words[3]
    sizes = {
        "collect": [*SMALL_COLLECT, "--collection.refined=0", ENGINE.replace("auto", "transformers")],
        "fit": ["--data.init_args.epochs=1", "--data.init_args.batch_size=8"],
        "evaluate": ["--limit=3", ENGINE.replace("auto", "transformers")],
    }[command]
    if "onpolicy" in config:
        sizes = ["--limit=3"]
    elif "grpo" in config:
        sizes = ["--data.init_args.steps=1", "--data.init_args.prompts_per_batch=2", "--data.init_args.limit=4"]
    return [*words[1:], *sizes]


def test_the_commands_on_the_mini_world_run_one_after_another(
    elsewhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    readme = [c for c in ALL if c.text == "README.md" and c.words[0] == "int-lightning"]
    names = ("collect", "sft", "grpo", "evaluate")
    chain = [c for c in readme if c.words[2:3] == ("-c",) and c.words[3] in [f"configs/mini/{n}.yaml" for n in names]]
    chain = [
        c for c in chain if "--oracle" not in c.words and "--dry-run" not in c.words and "--ckpt_path" not in c.words
    ]
    assert [Path(c.words[3]).stem for c in chain[:4]] == list(names)
    for given in chain[:4]:
        assert main(small(given.words)) == 0, given
    said = capfd.readouterr().out
    assert "next: int-lightning fit -c configs/mini/sft.yaml --data.init_args.folder runs/mini-collect" in said
    assert (
        "the model is in runs/mini-grpo/model; next: int-lightning evaluate -c configs/mini/evaluate.yaml --model"
        in said
    )
    assert "no group had an advantage in any step" in said
    (report,) = [c for c in readme if "configs/mini/onpolicy-evaluate.yaml" in c.words]
    assert main(small(report.words)) == 0
    for given in [c for c in readme if c.words[1:3] == ("inspect", "runs/mini-collect")]:
        assert main(list(given.words[1:])) == 0, given
    assert Path("rows.html").is_file()


def test_every_oracle_that_the_readme_names_can_be_named(elsewhere: Path) -> None:
    table = (ROOT / "README.md").read_text().split("| oracle | |")[1].split("\n\n")[0]
    names = re.findall(r"^\| `(\w+)` \|", table, re.M)
    assert len(names) == 4
    for name in names:
        assert name in SHIPPED
        given = [
            f"--oracle={name}",
            "--oracle.base_url=http://127.0.0.1:1/v1",
            "--oracle.model=m",
            "--oracle.file=f.jsonl",
        ]
        own = [g for g in given[1:] if ("Server" in name and "file" not in g) or ("Annotation" in name and "file" in g)]
        with pytest.raises(ParsedOnlyError), ExitStack() as resources:
            ParseOnly(["collect", "-c", "configs/smollm2/collect.yaml", given[0], *own], resources)


ORACLE = """
from int_lightning.oracles.base import ProgramOracle


class Mine(ProgramOracle):
    def first_error(self, problem, steps):
        return len(steps) - 1, "I do not know ."
"""


def test_an_oracle_after_the_recipe_proposes_and_the_tour_goes_on_without_the_correctness_filter(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe of CONTRIBUTING, and the first two commands for SmolLM2, with the mini model in its place."""
    tour = [c for c in ALL if c.words[0] == "int-lightning" and c.words[3:4] == ("configs/smollm2/collect.yaml",)]
    (tour_sft,) = [c for c in ALL if c.words[3:4] == ("configs/smollm2/sft.yaml",)]
    assert len(tour) == 1
    (elsewhere / "my_oracle.py").write_text(ORACLE.replace("I do not know .", "2 > 3"))
    mini = ["--model=mini", "--prompts=mini", "--problems=mini:hard-train:8", "--oracle=my_oracle.Mine"]
    sizes = ["--collection.attempts=4", "--collection.guided=1", ENGINE.replace("auto", "transformers")]
    assert main([*tour[0].words[1:4], *mini, *sizes, "--collection.conditioning=false"]) == 0
    store = Store(Path("runs/smollm2-collect/dataset"))
    assert {p.oracle for p in store.read("proposals", Proposal)} == {"Mine"}
    kept = [i for i in store.read("interventions", Intervention) if not i.rejected]
    assert any(i.guided_correct == 0 for i in kept)
    model = ["--model.init_args.model=mini", "--model.init_args.dtype=float32", "--data.init_args.epochs=1"]
    assert main([*tour_sft.words[1:], *model]) == 0


def test_an_oracle_without_a_name_of_its_own_has_that_of_its_class() -> None:
    class Unnamed(Oracle):
        async def propose(self, attempts, sampler):  # type: ignore[no-untyped-def]
            return []

    assert Unnamed().name == "Unnamed"
