"""From sampled groups to weighted rows, written out."""

from __future__ import annotations

import io
import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from int_lightning.grpo.advantages import group_advantages
from int_lightning.grpo.groups import Aggregation, GroupConfig, group_metrics, loss_count, loss_rows, rewarded_groups
from int_lightning.grpo.objective import ObjectiveConfig
from int_lightning.grpo.rewards import RewardConfig, Rewards
from int_lightning.grpo.stream import WaitingStep
from int_lightning.types import Group, Problem, Provenance, Rollout, Sampling, UserError

PROBLEM = Problem("p", "1+1", "", "2")
SAMPLING = Sampling(max_tokens=8)
RIGHT = Rollout(
    "p/0", "p", 0, [5, 6], [7, 8], [-0.5, -0.25], "2", "stop", "2", True, Provenance("", "", "", "", SAMPLING, 0)
)
WRONG = replace(
    RIGHT, id="p/1", sample=1, token_ids=[7, 8, 9, 9], logprobs=[-1.0] * 4, text="3", answer="3", correct=False
)
CUT = replace(WRONG, id="p/2", sample=2, token_ids=[9] * 8, logprobs=[-1.0] * 8, finish="length")
HERE = "example_rewards"


def groups_of(config: GroupConfig = GroupConfig(), *rewards: RewardConfig):
    parts = Rewards(rewards or [RewardConfig()], timeout=20)
    return rewarded_groups([[RIGHT, WRONG, CUT, WRONG]], {"p": PROBLEM}, parts, config)


def test_by_default_a_right_answer_is_worth_1_and_all_tokens_weigh_alike() -> None:
    groups = groups_of()
    assert groups[0].rewards == [1.0, 0.0, 0.0, 0.0]
    rows = loss_rows(groups, GroupConfig(), with_engine_logprobs=True)
    assert [(r.token_ids.tolist(), r.weights.tolist(), r.advantage) for r in rows[:2]] == [
        ([5, 6, 7, 8], [0.0, 0.0, 1.0, 1.0], 0.75),
        ([5, 6, 7, 8, 9, 9], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0], -0.25),
    ]
    assert rows[0].engine_logprobs.tolist() == [0.0, 0.0, -0.5, -0.25]
    assert loss_count(groups, GroupConfig(), SAMPLING) == 2 + 4 + 8 + 4


def test_a_step_that_waits_comes_back_from_a_checkpoint_as_it_was() -> None:
    rows = loss_rows(groups_of(), GroupConfig(), with_engine_logprobs=True)
    step = WaitingStep(rows, 18.0, {"reward": 0.25})
    file = io.BytesIO()
    torch.save(step.state_dict(), file)
    file.seek(0)
    assert WaitingStep.from_state(torch.load(file, weights_only=True)) == step


def test_rollouts_are_equal_where_all_their_tokens_are() -> None:
    assert replace(RIGHT, token_ids=np.array([7, 8])) == RIGHT == pickle.loads(pickle.dumps(RIGHT))
    assert replace(RIGHT, token_ids=[7, 9]) != RIGHT
    assert replace(RIGHT, token_ids=[7], logprobs=[-0.5]) != RIGHT
    assert (RIGHT.token_ids.dtype, RIGHT.logprobs.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize(
    ("aggregation", "count", "weights"),
    [
        ("sequence", 4.0, [1 / 2, 1 / 4, 1 / 8, 1 / 4]),
        ("constant", 32.0, [1.0] * 4),
        ("sum", 4.0, [1.0] * 4),
    ],
)
def test_how_tokens_are_aggregated(aggregation: str, count: float, weights: list[float]) -> None:
    config = GroupConfig(aggregation=aggregation)  # type: ignore[arg-type]
    groups = groups_of(config)
    assert loss_count(groups, config, SAMPLING) == count
    assert [row.weights[-1] for row in loss_rows(groups, config, False)] == weights


def test_what_becomes_of_truncated_rollouts() -> None:
    by_length = RewardConfig(f"{HERE}.length")
    assert groups_of(GroupConfig(), by_length)[0].rewards == [2.0, 4.0, 8.0, 4.0]
    assert groups_of(GroupConfig(truncated="zero"), by_length)[0].rewards == [2.0, 4.0, 0.0, 4.0]
    assert groups_of(GroupConfig(truncation_penalty=0.5), by_length)[0].rewards == [2.0, 4.0, 7.5, 4.0]
    masked = GroupConfig(truncated="mask")
    groups = groups_of(masked)
    assert [len(r.token_ids) for r in loss_rows(groups, masked, False)] == [4, 6, 6]
    assert groups[0].advantages[0] == 0.75


@pytest.mark.parametrize(
    ("aggregation", "count"), [("token", 2.0 + 4 + 4), ("sequence", 3.0), ("constant", 3.0 * 8), ("sum", 3.0)]
)
def test_the_loss_is_not_divided_by_masked_rollouts(aggregation: Aggregation, count: float) -> None:
    config = GroupConfig(aggregation=aggregation, truncated="mask")
    assert loss_count(groups_of(config), config, SAMPLING) == count
    all_masked = rewarded_groups([[CUT, CUT]], {"p": PROBLEM}, Rewards([RewardConfig()]), config)
    assert loss_rows(all_masked, config, False) == []
    assert loss_count(all_masked, config, SAMPLING) >= 1


def test_rewards_are_weighted_and_added() -> None:
    rewards = groups_of(GroupConfig(), RewardConfig(weight=10.0), RewardConfig(f"{HERE}.length", weight=-1.0))[
        0
    ].rewards
    assert rewards == [8.0, -4.0, -8.0, -4.0]


def test_a_reward_that_raises_is_an_error_of_its_rollout_and_not_a_zero(capfd: pytest.CaptureFixture[str]) -> None:
    (group,) = groups_of(GroupConfig(), RewardConfig(f"{HERE}.fails_on_wrong"))
    assert [r.id for r in group.rollouts] == ["p/0"]
    assert group.rewards == [1.0]
    assert group.zero_advantage
    assert group_metrics([group], drawn=4)["reward_errors"] == 3.0
    said = capfd.readouterr().out
    assert "example_rewards.fails_on_wrong of rollout p/1: KeyError" in " ".join(said.split())


def test_a_reward_that_is_not_a_number_is_an_error_too(capfd: pytest.CaptureFixture[str]) -> None:
    (group,) = groups_of(GroupConfig(), RewardConfig(f"{HERE}.not_a_number"))
    assert [r.id for r in group.rollouts] == ["p/1", "p/2", "p/1"]
    assert "is not finite" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize(("path", "said"), [("exits", "SystemExit: enough"), ("interrupts", "KeyboardInterrupt")])
def test_a_reward_that_exits_is_an_error_at_once(path: str, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    (group,) = groups_of(GroupConfig(), RewardConfig(f"{HERE}.{path}"))
    assert time.monotonic() - began < 10
    assert group.rewards == [1.0]
    assert group_metrics([group], drawn=4)["reward_errors"] == 3.0
    assert f"{HERE}.{path} of rollout p/1: {said}" in capfd.readouterr().out


def test_a_reward_that_changes_its_rollout_changes_nothing_that_is_trained_on() -> None:
    (group,) = groups_of(GroupConfig(), RewardConfig(f"{HERE}.blanks"), RewardConfig(f"{HERE}.blanks"))
    assert group.rewards == [4.0, 8.0, 16.0, 8.0]
    assert group.rollouts == [RIGHT, WRONG, CUT, WRONG]
    assert [v.tolist() for v in (RIGHT.prompt_ids, RIGHT.token_ids, RIGHT.logprobs)] == [[5, 6], [7, 8], [-0.5, -0.25]]


def test_a_reward_too_large_to_train_on_is_the_rewards_fault(capfd: pytest.CaptureFixture[str]) -> None:
    (group,) = groups_of(GroupConfig(), RewardConfig(f"{HERE}.huge"))
    assert group.rewards == [0.0, 0.0, 0.0]
    assert f"{HERE}.huge of rollout p/0: 1e+308 x weight 1 is too large" in capfd.readouterr().out
    for weight in (1e308, float("nan")):
        with pytest.raises(UserError, match="weight"):
            RewardConfig(weight=weight)


def test_parts_that_cancel_give_no_reward() -> None:
    parts = [RewardConfig(f"{HERE}.length", weight) for weight in (0.1, 0.2, -0.3)]
    (group,) = groups_of(GroupConfig(), *parts)
    assert group.rewards == [0.0] * 4
    (group,) = groups_of(
        GroupConfig(truncation_penalty=0.8, advantage="standardised"), RewardConfig(f"{HERE}.length", 0.1)
    )
    assert group.rewards == [0.2, 0.4, 0.0, 0.4]


def test_a_batch_whose_rewards_all_raised_is_an_error() -> None:
    groups = rewarded_groups(
        [[WRONG, WRONG]], {"p": PROBLEM}, Rewards([RewardConfig(f"{HERE}.fails_on_wrong")]), GroupConfig()
    )
    with pytest.raises(UserError, match=r"fix data\.rewards"):
        group_metrics(groups, drawn=2)


def test_a_reward_that_hangs_is_named_with_its_rollout() -> None:
    rewards = Rewards([RewardConfig(f"{HERE}.hangs")], timeout=0.3)
    with pytest.raises(UserError, match=r"example_rewards\.hangs of rollout p/0 did not return within 0\.3 s"):
        rewards([(PROBLEM, RIGHT)])


@pytest.mark.parametrize(
    "path", ["nowhere.to_be_found", "example_rewards.absent", "length", "example_rewards.NOT_CALLABLE"]
)
def test_a_path_that_leads_to_no_reward_is_named(path: str) -> None:
    with pytest.raises(UserError, match=r"data\.rewards"):
        Rewards([RewardConfig(path)])


def test_the_share_of_groups_without_an_advantage_counts_rewards_that_agree_at_any_level() -> None:
    rewards = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5]]
    groups = [Group("p", [RIGHT, WRONG], pair, group_advantages(pair)) for pair in rewards]
    assert group_metrics(groups, 10)["zero_advantage_ratio"] == pytest.approx(3 / 5)
    assert group_metrics(groups[1:2], 2)["zero_advantage_ratio"] == 0.0


def test_terms_that_act_on_every_token_also_get_the_groups_without_an_advantage() -> None:
    groups = [Group("p", [RIGHT, WRONG], [1.0, 0.0], [0.5, -0.5]), Group("q", [WRONG, WRONG], [0.0, 0.0], [0.0, 0.0])]
    plain, kl, bonus = (
        ObjectiveConfig(**keys) for keys in ({}, {"kl_coefficient": 0.1}, {"entropy_coefficient": 0.01})
    )
    assert [o.acts_without_advantage for o in (plain, kl, bonus)] == [False, True, True]
    assert [row.advantage for row in loss_rows(groups, GroupConfig(), False)] == [0.5, -0.5]
    every = loss_rows(groups, GroupConfig(), False, without_advantage=True)
    assert [row.advantage for row in every] == [0.5, -0.5, 0.0, 0.0]
    assert all(row.weights[-1] == 1.0 for row in every)
