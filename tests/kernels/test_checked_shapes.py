"""In the tests, shapes and dtypes of annotations are checked: a call that breaks them fails even where PyTorch broadcasts."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from int_lightning_kernels import PolicyObjective, PolicyTokens, reference, token_policy_loss

N, V = 3, 5


def test_arguments_that_agree_pass() -> None:
    logprob, entropy, logsumexp = reference.log_probs(torch.zeros(N, V), torch.arange(N))
    assert logprob.shape == entropy.shape == logsumexp.shape == (N,)


def test_a_wrong_shape_is_caught() -> None:
    column = torch.zeros(N, 1)
    with pytest.raises(jaxtyping.TypeCheckError, match="entropy"):
        token_policy_loss(torch.zeros(N), column, PolicyTokens(torch.ones(N), torch.ones(N)), PolicyObjective())


def test_a_wrong_dtype_is_caught() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="targets"):
        reference.log_probs(torch.zeros(N, V), torch.arange(N, dtype=torch.int32))


def test_a_record_whose_tensors_disagree_is_caught() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="old_logprob"):
        PolicyTokens(torch.ones(N), torch.ones(N), old_logprob=torch.ones(1))


@pytest.mark.usefixtures("own_refusals")
def test_tests_of_refusals_can_do_without() -> None:
    PolicyTokens(torch.ones(N), torch.ones(N), old_logprob=torch.ones(1))
