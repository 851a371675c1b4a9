"""Log-probabilities to the last digits, also of long rows, masked tokens and half precision."""

from __future__ import annotations

import torch

from layerwidget.analysis.log_probs import log_probs


def exact(logits: torch.Tensor) -> torch.Tensor:
    return logits.double().log_softmax(-1)


def test_long_rows_are_right_to_the_last_digits() -> None:
    logits = 4 * torch.randn(3, 49_152, generator=torch.Generator().manual_seed(0)) + 7
    found = log_probs(logits)
    assert found.dtype == torch.float32
    assert (found.double() - exact(logits)).abs().max() < 4e-6
    assert (found.double().exp().sum(-1) - 1).abs().max() < 1e-6


def test_what_it_reads_stays_as_it_is() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    log_probs(logits)
    assert logits.tolist() == [[1.0, -2.0, 0.5]]


def test_masked_tokens_are_very_unlikely_and_no_nan() -> None:
    logits = torch.tensor([[1.0, -torch.inf, 3.0]])
    found = log_probs(logits)
    torch.testing.assert_close(found[:, [0, 2]], exact(logits)[:, [0, 2]].float())
    assert found[0, 1] < -1e29
    assert torch.linalg.vecdot(found.exp(), found).isfinite()


def test_half_precision_is_computed_in_fp32() -> None:
    logits = torch.randn(2, 500, generator=torch.Generator().manual_seed(1)).half()
    torch.testing.assert_close(log_probs(logits).double(), exact(logits), atol=4e-6, rtol=0)
