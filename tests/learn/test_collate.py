"""Rows to micro-batches and to each rank's part of an optimiser step; the stream that resumes."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain, combinations

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchdata.stateful_dataloader import StatefulDataLoader

from int_lightning.learn.micro_batches import MicroBatch, Step, TrainingRow, micro_batches, pack, pad
from int_lightning.learn.step_stream import Layout, StepStream, balanced_parts

from made_rows import made_row

PAD = 0
LENGTHS = st.lists(st.integers(2, 20), min_size=1, max_size=25)


def numbered(lengths: Sequence[int]) -> list[TrainingRow]:
    """Rows whose first token is their number + 1; the first half of a row carries no loss."""
    return [
        made_row([i + 1] * n, [float(t >= (n + 1) // 2) for t in range(n)], float(i)) for i, n in enumerate(lengths)
    ]


def numbers_of(batches: Sequence[MicroBatch], trained_only: bool = False) -> list[int]:
    return [
        int(ids[0]) - 1
        for batch in batches
        for ids, weights in zip(batch.input_ids, batch.weights, strict=True)
        if weights.any() or not trained_only
    ]


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 60))
def test_every_row_once_and_within_the_budget(lengths: list[int], budget: int) -> None:
    rows = numbered(lengths)
    batches = micro_batches(rows, PAD, budget)
    assert sorted(numbers_of(batches)) == list(range(len(rows)))
    for batch in batches:
        assert batch.input_ids.numel() <= budget or len(batch.input_ids) == 1
        assert batch.row_index == numbers_of([batch])
        assert batch.input_ids.shape[1] == max(lengths[i] for i in batch.row_index)
        assert batch.attention_mask is not None
        for i, ids, mask, weights, advantages in zip(
            batch.row_index, batch.input_ids, batch.attention_mask, batch.weights, batch.advantages, strict=True
        ):
            padding = len(ids) - lengths[i]
            assert ids.tolist() == rows[i].token_ids.tolist() + [PAD] * padding
            assert mask.tolist() == [1] * lengths[i] + [0] * padding
            assert weights.tolist() == rows[i].weights.tolist() + [0.0] * padding
            assert advantages.tolist() == [rows[i].advantage] * lengths[i] + [0.0] * padding


def test_a_row_whose_values_are_fewer_than_its_tokens_is_caught_in_tests() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="weights"):
        made_row([1, 2, 3], [0.0, 1.0])


def test_without_rows_there_are_no_micro_batches() -> None:
    assert micro_batches([], PAD, 8) == []


def test_padding_written_out() -> None:
    short = made_row([5, 6], [0.0, 1.0], 0.5, [0.0, -1.0], [0.0, -2.0], [0.0, -3.0])
    long = made_row([7, 8, 9], [0.0, 0.0, 0.25], -0.5, [0.0, 0.0, -4.0], [0.0, 0.0, -5.0])
    batch = pad([short, long], 99, [1, 0])
    assert batch.input_ids.tolist() == [[5, 6, 99], [7, 8, 9]]
    assert batch.attention_mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.weights.tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, 0.25]]
    assert batch.trained.tolist() == [[True, False], [False, True]]
    assert batch.advantages.tolist() == [[0.5, 0.5, 0.0], [-0.5, -0.5, -0.5]]
    assert (batch.row_index, batch.lengths) == ([1, 0], [2, 3])
    assert [row.tolist() for row in batch.spread(torch.tensor([2.0, 6.0]))] == [[0.0, 2.0], [0.0, 0.0, 6.0]]
    assert batch.row_of_token.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert batch.engine_logprobs is not None
    assert batch.engine_logprobs.tolist() == [[0.0, -1.0, 0.0], [0.0, 0.0, -4.0]]
    assert batch.old_logprobs is not None
    assert batch.old_logprobs.tolist() == [[0.0, -2.0, 0.0], [0.0, 0.0, -5.0]]
    assert batch.reference_logprobs is None
    assert (batch.input_ids.dtype, batch.attention_mask.dtype) == (torch.int64, torch.int64)
    assert {batch.weights.dtype, batch.advantages.dtype, batch.old_logprobs.dtype} == {torch.float32}


def test_packing_written_out() -> None:
    one = made_row([5, 6], [1.0, 1.0], 0.5, [0.0, -1.0], None, [0.0, -3.0])
    two = made_row([7, 8, 9], [1.0, 0.0, 0.25], -0.5, [0.0, 0.0, -4.0], None, [0.0, 0.0, -5.0])
    batch = pack([one, two], 99, [1, 0])
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9]]
    assert batch.attention_mask is None
    assert batch.weights.tolist() == [[0.0, 1.0, 0.0, 0.0, 0.25]]  # no row's first token: it would follow another row
    assert batch.advantages.tolist() == [[0.5, 0.5, -0.5, -0.5, -0.5]]
    assert (batch.row_index, batch.lengths) == ([1, 0], [2, 3])
    assert batch.engine_logprobs is not None
    assert batch.engine_logprobs.tolist() == [[0.0, -1.0, 0.0, 0.0, -4.0]]
    assert batch.old_logprobs is None
    assert [row.tolist() for row in batch.spread(torch.tensor([2.0, 5.0]))] == [[0.0, 2.0], [0.0, 0.0, 5.0]]
    assert batch.row_of_token.tolist() == [[0, 0, 1, 1, 1]]


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 60))
def test_packs_hold_every_row_once_within_the_budget_and_nothing_else(lengths: list[int], budget: int) -> None:
    rows = numbered(lengths)
    batches = micro_batches(rows, PAD, budget, packed=True)
    assert sorted(i for batch in batches for i in batch.row_index) == list(range(len(rows)))
    for batch in batches:
        assert batch.input_ids.shape == (1, sum(batch.lengths))
        assert sum(batch.lengths) <= budget or len(batch.lengths) == 1
        assert batch.input_ids[0].tolist() == [t for i in batch.row_index for t in rows[i].token_ids]
    assert len(batches) <= len(micro_batches(rows, PAD, budget))
    for one, other in combinations(batches, 2):
        assert sum(one.lengths) + min(other.lengths) > budget or sum(other.lengths) + min(one.lengths) > budget


def test_a_step_moves_whole() -> None:
    step = Layout(PAD, 8).step([made_row([1, 2], [0.0, 1.0], 1.0, [0.0, -1.0])], count=5.0, metrics={"reward": 0.5})
    moved = step.to(torch.device("meta"))
    assert (moved.count, moved.trained, moved.metrics) == (5.0, 1.0, {"reward": 0.5})
    (batch,) = moved.batches
    assert batch.input_ids.is_meta
    assert batch.weights.is_meta
    assert batch.engine_logprobs is not None
    assert batch.engine_logprobs.is_meta
    assert batch.old_logprobs is None
    assert batch.row_index == [0]


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 5))
def test_parts_are_a_balanced_partition(lengths: list[int], world_size: int) -> None:
    parts = balanced_parts(lengths, world_size)
    assert len(parts) == world_size
    assert sorted(chain.from_iterable(parts)) == list(range(len(lengths)))
    assert all(part == sorted(part) for part in parts)
    loads = [sum(lengths[i] for i in part) for part in parts]
    assert max(loads) - min(loads) <= max(lengths)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 60), st.integers(1, 4))
def test_ranks_share_the_rows_of_a_step(lengths: list[int], budget: int, world_size: int) -> None:
    rows = numbered(lengths)
    alone = Layout(PAD, budget).step(rows)
    steps = [Layout(PAD, budget, rank=rank, world_size=world_size).step(rows) for rank in range(world_size)]
    assert len({len(step.batches) for step in steps}) == 1
    assert {(s.count, s.trained) for s in steps} == {(alone.count, alone.trained)}
    assert alone.trained == sum(sum(r.weights[1:]) for r in rows)
    together = [batch for step in steps for batch in step.batches]
    assert Counter(numbers_of(together, trained_only=True)) == Counter(range(len(rows)))
    assert sum(float(b.weights[:, 1:].sum()) for b in together) == alone.trained
    for batch in together:
        assert batch.attention_mask is not None
        assert batch.attention_mask[:, 0].all()


def test_fillers_carry_no_loss() -> None:
    rows = numbered([9, 4])
    first, second, third = (Layout(PAD, 9, rank=rank, world_size=3).step(rows) for rank in range(3))
    assert numbers_of(first.batches, trained_only=True) == [0]
    assert numbers_of(second.batches, trained_only=True) == [1]
    (filler,) = third.batches
    assert not filler.trained.any()
    assert not filler.weights.any()
    assert filler.input_ids.tolist() == [rows[0].token_ids.tolist()]
    assert rows[0].weights[-1] == 1.0


def test_a_given_count_divides_the_loss_and_the_rows_own_the_metrics() -> None:
    rows = numbered([4, 6])
    step = Layout(PAD, 100).step(rows, count=40.0, metrics={"reward": 0.25})
    assert (step.count, step.trained, step.metrics) == (40.0, 2.0 + 3.0, {"reward": 0.25})
    empty = Layout(PAD, 100, rank=1, world_size=2).step([], count=40.0)
    assert (empty.batches, empty.count, empty.trained) == ([], 40.0, 0)


def test_the_first_token_is_predicted_from_nothing_and_does_not_count() -> None:
    step = Layout(PAD, 100).step([made_row([1, 2, 3], [1.0, 0.0, 0.5])])
    assert (step.count, step.trained) == (0.5, 1.0)
    assert step.batches[0].trained.tolist() == [[False, True]]


def rows_of(step: int) -> list[TrainingRow]:
    return numbered([3 + step, 5, 4][: 1 + step % 3])


def tokens_of(steps: Sequence[Step]) -> list[list[list[list[int]]]]:
    return [[batch.input_ids.tolist() for batch in step.batches] for step in steps]


@pytest.mark.parametrize("taken", range(8))
def test_a_stream_continues_where_its_state_was_saved(taken: int) -> None:
    whole = tokens_of(list(StepStream(rows_of, 7, Layout(PAD, 8))))
    assert len(whole) == 7
    first = StepStream(rows_of, 7, Layout(PAD, 8))
    steps = iter(first)
    before = [next(steps) for _ in range(taken)]
    resumed = StepStream(rows_of, 7, Layout(PAD, 8))
    resumed.load_state_dict(first.state_dict())
    assert tokens_of(before) + tokens_of(list(resumed)) == whole
    assert len(resumed) == 7


@pytest.mark.parametrize("taken", [1, 4, 7])
def test_a_loader_continues_where_its_state_was_saved(taken: int) -> None:
    def loader() -> StatefulDataLoader[Step]:
        return StatefulDataLoader(StepStream(rows_of, 7, Layout(PAD, 8)), batch_size=None)

    whole = tokens_of(list(loader()))
    first = loader()
    steps = iter(first)
    before = [next(steps) for _ in range(taken)]
    resumed = loader()
    resumed.load_state_dict(first.state_dict())
    assert tokens_of(before) + tokens_of(list(resumed)) == whole


def test_a_finished_stream_starts_over() -> None:
    stream = StepStream(rows_of, 3, Layout(PAD, 8))
    assert tokens_of(list(stream)) == tokens_of(list(stream))
    assert stream.state_dict() == {"position": 0}
