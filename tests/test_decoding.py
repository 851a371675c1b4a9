"""Statistics of logits in blocks of the vocabulary against those of all logits at once."""

from __future__ import annotations

import pytest
import torch

from layerwidget.analysis.decoding import BLOCK_WIDTH, Columns, Final, decode, decode_in_blocks
from layerwidget.analysis.looking import largest, pieces
from layerwidget.model import decoding
from layerwidget.model.decoding import BlockedLogits, Logits, WholeLogits
from layerwidget.model.hooked_model import HookedModel
from tests import tiny
from tests.tiny import jensen_shannon

N_POS, N_LAYERS, D_MODEL = 5, 3, 12
#: Of blocks, of groups of neighbours, and of neither, there is a remainder.
D_VOCAB = 2 * BLOCK_WIDTH + 777
K = 10


def blocked(seed: int = 0) -> BlockedLogits:
    generator = torch.Generator().manual_seed(seed)
    normed = torch.randn(N_POS * N_LAYERS, D_MODEL, generator=generator) * 3
    return BlockedLogits(normed, torch.randn(D_VOCAB, D_MODEL, generator=generator), torch.randn(D_VOCAB))


def cells_of(logits: Logits, final: Final, tokens: torch.Tensor, jsd: bool = False) -> dict[str, torch.Tensor]:
    """Of blocks, where they will do."""
    columns, found = Columns(logits, final, N_LAYERS), dict[int, dict[str, torch.Tensor]]()
    if jsd or isinstance(logits, WholeLogits):
        return decode(columns, tokens, K, jsd)
    decode_in_blocks([columns], tokens, K, found.__setitem__)
    return found[0]


def between(logits: Logits, first: int, stop: int) -> torch.Tensor:
    return logits.between(first, stop, torch.empty(1_000_000)).clone()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("whole", [False, True])
def test_blocks_together_say_what_all_logits_say(seed: int, whole: bool) -> None:
    logits = blocked(seed)
    every = between(logits, 0, D_VOCAB).unflatten(0, (N_LAYERS, N_POS))
    tokens = torch.tensor([0, BLOCK_WIDTH - 1, BLOCK_WIDTH, D_VOCAB - 1])
    final = Final.of(every[-1])
    source = WholeLogits(every.flatten(0, 1).clone()) if whole else logits
    cells = cells_of(source, final, tokens, jsd=True)
    log_probs = every.double().log_softmax(-1)
    close = {"rtol": 1e-4, "atol": 1e-4, "check_dtype": False}
    expected = log_probs.topk(K)
    assert torch.equal(cells["top_ids"], expected.indices)
    torch.testing.assert_close(cells["top_probs"].log(), expected.values, **close)
    torch.testing.assert_close(cells["entropy_nats"], torch.special.entr(log_probs.exp()).sum(-1), **close)
    kl = (log_probs[-1].exp() * (log_probs[-1] - log_probs)).sum(-1)
    torch.testing.assert_close(cells["kl_to_final_nats"], kl, **close)
    torch.testing.assert_close(cells["jsd_nats"], jensen_shannon(log_probs), rtol=0, atol=2e-5, check_dtype=False)
    torch.testing.assert_close(cells["token_log_probs"], log_probs[..., tokens], **close)
    top = log_probs[-1].argmax(-1)
    of_final = log_probs.gather(-1, top.expand(N_LAYERS, -1)[..., None])
    torch.testing.assert_close(cells["final_probs"].log(), of_final[..., 0], **close)
    exact = every
    ranks = (exact[..., None, :] > exact[..., tokens, None]).sum(-1)
    # Where two logits tie within rounding, either may come first.
    ties = ((exact[..., None, :] - exact[..., tokens, None]).abs() < 1e-4).sum(-1)
    assert ((cells["token_ranks"] - ranks).abs() < ties).all()
    assert (cells["final_ranks"][-1] == 0).all()


@pytest.mark.parametrize("whole", [False, True])
def test_long_sums_are_exact_however_large_the_logits(whole: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    every = 90 + torch.randn(N_LAYERS, N_POS, 2**18, generator=generator)
    # A bias alone: the product is zero, and every row the same logits.
    alike = BlockedLogits(torch.zeros(N_POS * N_LAYERS, 4), torch.zeros(2**18, 4), every[0, 0].clone())
    source = WholeLogits(every.flatten(0, 1).clone()) if whole else alike
    every = every if whole else every[:1, :1].expand_as(every)
    cells = cells_of(source, Final.of(every[-1]), torch.tensor([0]))
    log_probs = every.double().log_softmax(-1)
    kl = (log_probs[-1].exp() * (log_probs[-1] - log_probs)).sum(-1)
    torch.testing.assert_close(cells["kl_to_final_nats"], kl, rtol=0, atol=1e-4, check_dtype=False)
    entropy = torch.special.entr(log_probs.exp()).sum(-1)
    torch.testing.assert_close(cells["entropy_nats"], entropy, rtol=0, atol=1e-4, check_dtype=False)


def test_a_rank_within_the_listed_tokens_is_their_place() -> None:
    logits = blocked()
    final = Final.of(between(logits, 0, D_VOCAB).unflatten(0, (N_LAYERS, N_POS))[-1])
    tokens = between(logits, 0, D_VOCAB)[0].topk(K).indices
    cells = cells_of(logits, final, tokens)
    assert cells["token_ranks"][0, 0].tolist() == list(range(K))
    listed = cells["top_ids"][..., None, :] == tokens[:, None]
    place = torch.where(listed.any(-1), listed.float().argmax(-1), K)
    assert torch.equal(cells["token_ranks"].clamp(max=K), place)


@pytest.mark.parametrize("mask", [-torch.inf, torch.finfo(torch.float32).min, -1e4])
@pytest.mark.parametrize("first", [BLOCK_WIDTH, BLOCK_WIDTH // 2 - 100])
def test_masked_tokens_have_no_weight(mask: float, first: int) -> None:
    logits = blocked()
    bias = logits.b_U
    assert bias is not None
    stop = first + BLOCK_WIDTH
    bias[first:stop] = mask
    final = Final.of(between(logits, 0, D_VOCAB).unflatten(0, (N_LAYERS, N_POS))[-1])
    cells = cells_of(logits, final, torch.tensor([0]), jsd=True)
    kept = torch.cat([between(logits, 0, first), between(logits, stop, D_VOCAB)], -1)
    log_probs = kept.log_softmax(-1).unflatten(0, (N_LAYERS, N_POS))
    torch.testing.assert_close(cells["entropy_nats"], torch.special.entr(log_probs.exp()).sum(-1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(cells["kl_to_final_nats"][-1], torch.zeros(N_POS), rtol=0, atol=1e-4)
    torch.testing.assert_close(cells["jsd_nats"], jensen_shannon(log_probs), rtol=0, atol=2e-5)


def test_what_is_far_below_the_peak_counts_where_the_final_prediction_says_so() -> None:
    logits = blocked()
    logits.normed.mul_(8)
    every = between(logits, 0, D_VOCAB).unflatten(0, (N_LAYERS, N_POS))
    log_probs = every.double().log_softmax(-1)
    assert log_probs.min() < -200
    cells = cells_of(logits, Final.of(every[-1]), torch.tensor([0]), jsd=True)
    close = {"rtol": 1e-4, "atol": 1e-4, "check_dtype": False}
    torch.testing.assert_close(cells["entropy_nats"], torch.special.entr(log_probs.exp()).sum(-1), **close)
    kl = (log_probs[-1].exp() * (log_probs[-1] - log_probs)).sum(-1)
    assert kl.max() > 80
    torch.testing.assert_close(cells["kl_to_final_nats"], kl, **close)
    torch.testing.assert_close(cells["token_log_probs"][..., 0], log_probs[..., 0], **close)
    torch.testing.assert_close(cells["jsd_nats"], jensen_shannon(log_probs), rtol=0, atol=2e-5, check_dtype=False)


def test_a_layer_whose_logits_are_there_is_decoded_as_if_they_were_not() -> None:
    logits = blocked()
    tokens = torch.tensor([0, BLOCK_WIDTH, D_VOCAB - 1])
    last = between(logits, 0, D_VOCAB)[-N_POS:]
    final, held = Final.of(last), last.clone()
    expected = cells_of(logits, final, tokens)
    others = BlockedLogits(logits.normed[:-N_POS], logits.W_U, logits.b_U)
    found: dict[int, dict[str, torch.Tensor]] = {}
    decode_in_blocks([Columns(others, final, N_LAYERS - 1, last)], tokens, K, found.__setitem__)
    cells = found[0]
    assert cells.keys() == expected.keys()
    for name, numbers in cells.items():
        torch.testing.assert_close(numbers, expected[name], rtol=1e-5, atol=1e-5)
    assert torch.equal(last, held)


@pytest.mark.parametrize("n_late", [0, 2, 10])
def test_the_largest_are_found_wherever_they_are(n_late: int) -> None:
    """Most vocabularies begin with the tokens of most use; rows whose largest come later are looked at further."""
    every = torch.randn(N_LAYERS, N_POS, D_VOCAB)
    every[..., : 2 * K] += 20
    # In none, in few, and in most rows: the largest of all, or one that is just listed.
    row = torch.arange(N_LAYERS * N_POS).view(N_LAYERS, N_POS)
    listed = torch.where(row % 2 == 0, 99, every.topk(K).values[..., -1] + 1e-3)
    every[..., -5] = torch.where(row < n_late, listed, every[..., -5])
    expected = every.topk(K)
    head = BlockedLogits(torch.eye(N_LAYERS * N_POS), every.flatten(0, 1).T.contiguous(), None)
    cells = cells_of(head, Final.of(every[-1]), torch.tensor([7]))
    assert torch.equal(cells["top_ids"], expected.indices)
    log_probs = expected.values - every.double().logsumexp(-1)[..., None]
    torch.testing.assert_close(cells["top_probs"].double(), log_probs.exp(), rtol=1e-4, atol=0)


def test_several_are_decoded_as_each_is() -> None:
    several = [blocked(seed) for seed in range(5)]
    finals = [Final.of(between(logits, 0, D_VOCAB)[-N_POS:]) for logits in several]
    columns = [Columns(logits, final, N_LAYERS) for logits, final in zip(several, finals, strict=True)]
    tokens, found = torch.tensor([7]), dict[int, dict[str, torch.Tensor]]()
    decode_in_blocks(iter(columns), tokens, K, found.__setitem__)
    assert sorted(found) == list(range(5))
    for index, one in enumerate(columns):
        for name, numbers in cells_of(one.logits, one.final, tokens).items():
            torch.testing.assert_close(found[index][name], numbers, rtol=0, atol=0)


def test_logits_that_came_whole_are_looked_at_as_they_are() -> None:
    """Somebody hangs something on the head while a text is decoded: then they are no plain product any more."""
    logits = blocked()
    whole = between(logits, 0, D_VOCAB)
    final, tokens = Final.of(whole[-N_POS:]), torch.tensor([7])
    others: list[Logits] = [logits, WholeLogits(whole.clone())]
    found: dict[int, dict[str, torch.Tensor]] = {}
    decode_in_blocks((Columns(one, final, N_LAYERS) for one in others), tokens, K, found.__setitem__)
    for name, numbers in found[0].items():
        torch.testing.assert_close(found[1][name], numbers, rtol=1e-5, atol=1e-5)


def test_probabilities_are_fp32_whatever_the_default_is() -> None:
    logits = torch.randn(3, 50)
    expected = Final.of(logits)
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = Final.of(logits)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found.probs, expected.probs)


@pytest.mark.parametrize("shape", [(1, 1, 7), (3, 4, 10), (5, 2, 100), (2, 9, 30)])
@pytest.mark.parametrize("piece", [1, 25, 60, 10_000])
def test_pieces_are_the_block_once(shape: tuple[int, int, int], piece: int) -> None:
    block = torch.zeros(shape)
    for here in pieces(block, piece):
        assert block[here].is_contiguous()
        assert block[here].numel() <= max(piece, shape[-1])
        block[here] += 1
    assert (block == 1).all()


@pytest.mark.parametrize("crowded", [False, True])
def test_all_logits_in_one_go_or_in_pieces(crowded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = blocked()
    monkeypatch.setattr(decoding, "is_crowded", lambda: crowded)
    whole = logits.whole(torch.empty(1_000_000)).logits
    expected = logits.normed.double() @ logits.W_U.double().T + logits.b_U
    torch.testing.assert_close(whole, expected, rtol=1e-5, atol=1e-4, check_dtype=False)


@pytest.mark.parametrize("n", [5, 64, 1280, 1281, 8192])
def test_largest_is_topk(n: int) -> None:
    values = torch.randn(4, 3, n)
    # Those that matter lie side by side, or in groups of their own.
    values[0, 0, :4] += 10
    top, ids = largest(values, min(5, n))
    expected = values.topk(min(5, n))
    assert torch.equal(top, expected.values)
    assert torch.equal(ids, expected.indices)


@pytest.mark.parametrize("kind", tiny.ALL)
def test_a_model_decodes_as_its_tail_does(kind: str) -> None:
    model = tiny.hooked(kind)
    rows = model.trace(tiny.ids(7)).resid_post[1]
    logits, expected = model.decoded(rows), model.tail(rows)
    assert logits.d_vocab == expected.shape[1]
    assert isinstance(logits, BlockedLogits) == model.decodes_in_blocks
    halves = [between(logits, 0, 13), between(logits, 13, logits.d_vocab)]
    torch.testing.assert_close(torch.cat(halves, 1), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits.at(torch.tensor([5, 2])), expected[:, [5, 2]], rtol=1e-5, atol=1e-5)


def test_what_hangs_on_a_head_is_heard() -> None:
    hf_model = tiny.tiny("llama")
    model = HookedModel(hf_model)
    rows = model.trace(tiny.ids(7)).resid_post[1]
    assert model.decodes_in_blocks
    before = between(model.decoded(rows), 0, 5)
    handle = hf_model.lm_head.register_forward_hook(lambda module, args, output: output * 2)
    assert not model.decodes_in_blocks
    torch.testing.assert_close(between(model.decoded(rows), 0, 5), before * 2)
    handle.remove()
    assert model.decodes_in_blocks
