"""Two results side by side: which tokens stand beside each other, and differences written out by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.questions.comparing_heads import without_first
from layerwidget.tokens import Piece
from layerwidget.widgets.gallery_packing import without_first as of_the_gallery
from tests.tiny import N_LAYERS, letters, tiny

A, B = [5, 9, 2, 7, 7, 30, 4], [5, 9, 8, 7, 11, 12, 30, 4, 6]
#: Where they stand beside each other: in A, in B, and in the columns that both share.
AT_A, AT_B, BOTH = [0, 1, 2, 3, 5, 6], [0, 1, 2, 3, 6, 7], [0, 1, 2, 3, 7, 8]


@cache
def hooked(kind: str) -> lw.HookedModel:
    return lw.HookedModel(tiny(kind))


def columns(ids_a: list[int], ids_b: list[int]) -> list[tuple[int, int]]:
    found = lw.aligned(np.array(ids_a), np.array(ids_b))
    return list(zip(found.a.tolist(), found.b.tolist(), strict=True))


@pytest.mark.parametrize(
    ("ids_a", "ids_b", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], [(0, 0), (1, 1), (2, 2)]),
        ([1, 2, 3], [1, 2, 9, 3], [(0, 0), (1, 1), (-1, 2), (2, 3)]),
        ([1, 2, 9, 3], [1, 2, 3], [(0, 0), (1, 1), (2, -1), (3, 2)]),
        ([1, 8, 8, 3], [1, 6, 7, 3], [(0, 0), (1, 1), (2, 2), (3, 3)]),
        ([1, 8, 3], [1, 6, 7, 3], [(0, 0), (1, -1), (-1, 1), (-1, 2), (2, 3)]),
        ([1, 2], [7, 8, 9], [(0, -1), (1, -1), (-1, 0), (-1, 1), (-1, 2)]),
        ([1], [2], [(0, 0)]),
        ([1, 2], [], [(0, -1), (1, -1)]),
        # What both begin with stays together, although a longer run of equal tokens lies elsewhere.
        ([1, 2, 1, 2, 3], [1, 2, 3], [(0, 0), (1, 1), (2, -1), (3, -1), (4, 2)]),
    ],
)
def test_tokens_stand_beside_each_other(ids_a: list[int], ids_b: list[int], expected: list[tuple[int, int]]) -> None:
    assert columns(ids_a, ids_b) == expected
    found = lw.aligned(np.array(ids_a), np.array(ids_b))
    assert [tuple(pair) for pair in found.pairs] == [pair for pair in expected if min(pair) >= 0]
    assert len(found) == len(expected)
    for positions, size in ((found.a, len(ids_a)), (found.b, len(ids_b))):
        np.testing.assert_array_equal(positions[positions >= 0], np.arange(size))


def test_many_equal_tokens_are_no_junk() -> None:
    ids = [7] * 300 + [8]
    assert columns(ids, [3, *ids]) == [(-1, 0), *((place, place + 1) for place in range(301))]


def test_differences_of_the_lens_are_those_of_plain_numbers() -> None:
    a, b = (lw.LogitLens(tokens=(3, 60), jsd=True).run(hooked("llama").trace(ids)) for ids in (A, B))
    found = lw.difference(a, b)
    # A: 5 9 2 7 | 7    |       30 4 |     B: 5 9 8 7 | 11 12 | 30 4 | 6
    assert found.alignment.a.tolist() == [0, 1, 2, 3, 4, -1, -1, 5, 6, -1]
    assert found.alignment.b.tolist() == [0, 1, 2, 3, -1, 4, 5, 6, 7, 8]
    at_a, at_b, both = [0, 1, 2, 3, 5, 6], [0, 1, 2, 3, 6, 7], [0, 1, 2, 3, 7, 8]
    plain = {
        "entropy": (a.entropy_nats, b.entropy_nats),
        "KL to the final prediction": (a.kl_to_final_nats, b.kl_to_final_nats),
        "Jensen-Shannon divergence from the final prediction": (a.jsd_nats, b.jsd_nats),
        "top-1 probability": (a.max_prob, b.max_prob),
        "probability of the final prediction": (a.final_probs, b.final_probs),
        "log-probability of “#60”": (a.token_log_probs[..., 1], b.token_log_probs[..., 1]),
    }
    for name, (of_a, of_b) in plain.items():
        one = found[name]
        np.testing.assert_array_equal(one.change[:, both], of_b[:, at_b] - of_a[:, at_a])
        assert np.isnan(one.change).sum() == N_LAYERS * 4
        np.testing.assert_array_equal(one.a[:, found.alignment.a >= 0], of_a)
        np.testing.assert_array_equal(one.b[:, found.alignment.b >= 0], of_b)
        assert np.isnan(one.a).sum() == N_LAYERS * 3
        assert np.isnan(one.b).sum() == N_LAYERS
    same = a.top_ids[:, at_a, 0] == b.top_ids[:, at_b, 0]
    np.testing.assert_array_equal(found["same top-1 token"].change[:, both], same)
    # What stands before the first difference is the same in a causal model.
    np.testing.assert_allclose(found["entropy"].change[:, :2], 0, atol=1e-5)
    assert np.abs(found["entropy"].change[:, 2]).max() > 1e-3


def test_norms_are_compared_by_their_ratio_and_cosines_by_their_difference() -> None:
    a, b = (lw.ResidualStream("1-2").run(hooked("gpt2").trace(ids)) for ids in (A, B))
    found = lw.difference(a, b)
    at_a, at_b, both = [0, 1, 2, 3, 5, 6], [0, 1, 2, 3, 6, 7], [0, 1, 2, 3, 7, 8]
    for name in a.components:
        expected = np.log2(b.norm(name)[:, at_b] / a.norm(name)[:, at_a])
        np.testing.assert_allclose(found[f"norm of {name}"].change[:, both], expected, rtol=1e-6)
    change = b.cos_final[:, at_b] - a.cos_final[:, at_a]
    np.testing.assert_array_equal(found["cosine with the final stream"].change[:, both], change)
    assert found.layers == (1, 2)
    table = found.to_pandas()
    assert len(table) == 2 * 10
    row = table[(table["layer"] == 2) & (table["pos A"] == 6)].iloc[0]
    assert (row["token A"], row["token B"], row["pos B"]) == ("#4", "#4", 7)
    assert row["norm of resid_post (A)"] == a.norm("resid_post")[1, 6]
    with pytest.raises(lw.SelectionError, match=r"no quantity 'size'. There are: norm of resid_post"):
        found["size"]


def test_attention_is_compared_where_queries_and_keys_stand_beside_each_other() -> None:
    a, b = (lw.Attention("0,2", "1-3").run(hooked("llama").trace(ids)) for ids in (A, B))
    found = lw.difference(a, b)
    at_a, at_b, both = [0, 1, 2, 3, 5, 6], [0, 1, 2, 3, 6, 7], [0, 1, 2, 3, 7, 8]
    one = found.head(2, 3)
    np.testing.assert_array_equal(
        one.change[np.ix_(both, both)], b.pattern[1, 2][np.ix_(at_b, at_b)] - a.pattern[1, 2][np.ix_(at_a, at_a)]
    )
    np.testing.assert_array_equal(one.a[~np.isnan(one.a)], a.pattern[1, 2].ravel())
    np.testing.assert_array_equal(one.b[~np.isnan(one.b)], b.pattern[1, 2].ravel())
    assert found.heads == (1, 2, 3)
    # By hand: what a token that is not there gets is nothing.
    whole = np.zeros((2, 10, 10))
    for side, (grid, positions) in enumerate(((a, found.alignment.a), (b, found.alignment.b))):
        here = np.flatnonzero(positions >= 0)
        whole[side][np.ix_(here, here)] = grid.pattern[1, 2]
    expected = (np.abs(whole[1] - whole[0])[both].sum(axis=1) / 2).mean()
    assert found.moved[1, 2] == pytest.approx(expected, abs=1e-6)
    assert found.moved.shape == (2, 3)
    with pytest.raises(lw.SelectionError, match="head 0"):
        found.head(2, 0)
    with pytest.raises(lw.SelectionError, match="layer 1"):
        found.head(1, 3)


def test_the_tuned_lens_is_compared_as_the_logit_lens_is() -> None:
    random = np.random.default_rng(5)
    d_model = hooked("llama").anatomy.d_model
    translators = lw.Translators(random.standard_normal((N_LAYERS, d_model, d_model)), np.zeros((N_LAYERS, d_model)))
    a, b = (lw.TunedLens(translators, "1-2", tokens=(60,)).run(hooked("llama").trace(ids)) for ids in (A, B))
    found = lw.difference(a, b)
    assert found.layers == (1, 2)
    for name, of in (("entropy", lambda grid: grid.entropy_nats), ("top-1 probability", lambda grid: grid.max_prob)):
        np.testing.assert_array_equal(found[name].change[:, BOTH], of(b)[:, AT_B] - of(a)[:, AT_A])
    plain = lw.LogitLens("1-2").run(hooked("llama").trace(A))
    with pytest.raises(lw.QuestionError, match="decodes tuned resid_pre, the other resid_post"):
        lw.difference(a, plain)


def test_value_weighted_attention_is_compared_in_its_units() -> None:
    a, b = (lw.ValueWeightedAttention("0,2", "1-3").run(hooked("llama").trace(ids)) for ids in (A, B))
    found = lw.difference(a, b)
    one = found.head(2, 3)
    assert (found.unit, one.unit, found.quantity) == ("units", "units", "value-weighted")
    expected = b.norms[1, 2][np.ix_(AT_B, AT_B)] - a.norms[1, 2][np.ix_(AT_A, AT_A)]
    np.testing.assert_array_equal(one.change[np.ix_(BOTH, BOTH)], expected)
    for grid, values in ((a, found.sink.a), (b, found.sink.b)):
        np.testing.assert_allclose(values, grid.norms[:, :, 1:, 0].mean(axis=-1), rtol=1e-6)
    whole = np.nan_to_num(np.stack([one.a, one.b]))[:, BOTH]
    assert found.moved[1, 2] == pytest.approx((np.abs(whole[1] - whole[0]).sum(axis=1) / 2).mean(), rel=1e-6)


def test_without_the_first_token_a_head_is_what_the_gallery_shows_of_it() -> None:
    grid = lw.Attention().run(hooked("llama").trace(A))
    pattern = grid.pattern.copy()
    # However little is left of a row, it is scaled.
    pattern[1, 2, 3] = np.float32([1, 0, 1e-8, 3e-8, 0, 0, 0])
    grid = replace(grid, pattern=pattern)
    one, *_ = without_first(lw.difference(grid, grid), 1, 2)
    np.testing.assert_allclose(one.a, of_the_gallery(pattern)[1, 2], atol=1e-6)
    np.testing.assert_allclose(one.a[3], [0, 0, 0.25, 0.75, 0, 0, 0], atol=1e-6)


def test_where_predictions_settle_is_compared_token_by_token() -> None:
    # Not every prediction settles in one layer, or there would be nothing to see.
    a, b = (lw.SettleDepth().run(hooked("llama").trace(ids)) for ids in (A, B))
    found = lw.difference(a, b)
    settled, depth = found["settled"], found["settle depth"]
    assert len({*a.layer, *b.layer}) > 1
    for row in range(N_LAYERS):
        np.testing.assert_array_equal(depth.change[row, BOTH], b.layer[AT_B] - a.layer[AT_A])
        np.testing.assert_array_equal(settled.a[row, found.alignment.a >= 0], row >= a.layer)
        np.testing.assert_array_equal(settled.b[row, found.alignment.b >= 0], row >= b.layer)
    assert np.isnan(settled.change).sum() == N_LAYERS * 4
    with pytest.raises(lw.QuestionError, match="among 1 tokens, the other among 4"):
        lw.difference(a, lw.Emergence(4).run(hooked("llama").trace(B)))
    emerged = lw.difference(*(lw.Emergence(4).run(hooked("llama").trace(ids)) for ids in (A, B)))
    assert tuple(emerged.quantities) == ("among the 4 most probable", "emergence depth")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "jamba"])
def test_attributions_of_one_token_add_up_in_both(kind: str) -> None:
    a, b = (lw.DirectLogitAttribution(40, position=at).run(hooked(kind).trace(ids)) for ids, at in ((A, 5), (B, 6)))
    found = lw.difference(a, b)
    parts = [place for place, head in enumerate(found.heads) if head < 0]
    one = found["logits"]
    for grid, values in ((a, one.a), (b, one.b)):
        assert np.nansum(values[:, parts], dtype=np.float64) + grid.error == pytest.approx(grid.logit, abs=1e-4)
        np.testing.assert_array_equal(values[:, len(parts) :], grid.heads)
    np.testing.assert_array_equal(one.change, one.b - one.a)
    assert np.isfinite(one.change[0, 0])
    assert np.isnan(one.change[1:, 0]).all()
    mlp = [a.values[a.names.index(f"mlp{layer}")] for layer in range(found.a.n_layers)]
    np.testing.assert_array_equal(one.a[:, found.columns.index("mlp")], mlp)
    assert f"A {a.logit:.3f} at “#30” (5), B {b.logit:.3f} at “#30” (6)" in found.about
    with pytest.raises(lw.QuestionError, match="logit of “#40”, the other of logit of “#41”"):
        lw.difference(a, lw.DirectLogitAttribution(41).run(hooked(kind).trace(B)))


def test_what_heads_are_is_compared_between_two_models() -> None:
    other = lw.HookedModel(tiny("llama", seed=1))
    a, b = (lw.HeadScores(n_tokens=6).run(model) for model in (hooked("llama"), other))
    found = lw.difference(a, b)
    np.testing.assert_array_equal(found["induction"].change, b.values - a.values)
    assert found["induction"].change.any()
    assert found.heads == (0, 1, 2, 3)
    with pytest.raises(lw.QuestionError, match="scores induction, the other previous"):
        lw.difference(a, lw.HeadScores("previous", 6).run(other))
    with pytest.raises(lw.QuestionError, match="same n_tokens and seed"):
        lw.difference(a, lw.HeadScores(n_tokens=6, seed=1).run(other))


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_the_strongest_neurons_of_either_have_their_activation_in_both(kind: str) -> None:
    traces = [hooked(kind).trace(ids) for ids in (A, B)]
    found = lw.difference(*(lw.NeuronActivations(1, at).run(trace) for trace, at in zip(traces, (5, 6), strict=True)))
    # All of them, by the question that ranks them.
    known = [lw.Neurons(1, at, k=1000).run(trace) for trace, at in zip(traces, (5, 6), strict=True)]
    by_number = [dict(zip(one.neurons.tolist(), one.activations.tolist(), strict=True)) for one in known]
    for numbers, values in zip(by_number, (found["activation"].a, found["activation"].b), strict=True):
        expected = [numbers.get(int(column), np.nan) for column in found.columns]
        np.testing.assert_array_equal(values[0], np.array(expected, np.float32))
    strongest = {int(one.neurons[0]) for one in known}
    assert strongest <= {int(column) for column in found.columns}
    largest = np.nan_to_num(np.concatenate([found["contribution"].a, found["contribution"].b])).max(axis=0)
    assert (np.diff(largest) <= 0).all()
    assert len(found.columns) == 24
    with pytest.raises(lw.SelectionError, match="Layer 9"):
        lw.NeuronActivations(9).run(traces[0])


@pytest.mark.parametrize("question", [lw.LogitLens(tokens=(3,)), lw.ResidualStream()])
def test_the_same_prompt_twice_differs_in_nothing(question: lw.LogitLens | lw.ResidualStream) -> None:
    trace = hooked("llama").trace(A)
    found = lw.difference(question.run(trace), question.run(trace))
    for name, one in found.quantities.items():
        np.testing.assert_array_equal(one.change, 1.0 if name == "same top-1 token" else 0.0)
    attention = lw.Attention().run(trace)
    assert not lw.difference(attention, attention).moved.any()
    np.testing.assert_allclose(lw.stream_cosine(trace, trace), 1, atol=1e-6)


def test_prompts_without_a_common_token_have_nothing_to_compare_but_are_shown() -> None:
    a, b = (lw.ResidualStream().run(hooked("llama").trace(ids)) for ids in ([1, 2], [7, 8, 9]))
    one = lw.difference(a, b)["norm of resid_post"]
    assert np.isnan(one.change).all()
    assert (~np.isnan(one.a)).sum() == 2 * N_LAYERS
    a, b = (lw.Attention().run(hooked("llama").trace(ids)) for ids in ([1, 2], [7, 8, 9]))
    assert np.isnan(lw.difference(a, b).moved).all()


def test_streams_turn_where_the_prompts_differ() -> None:
    a, b = (hooked("llama").trace(ids) for ids in (A, B))
    found = lw.stream_cosine(a, b, "1-2")
    expected = torch.nn.functional.cosine_similarity(a.resid_post[1:, [2, 5]], b.resid_post[1:, [2, 6]], dim=-1)
    np.testing.assert_allclose(found[:, [2, 7]], expected, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(found[0]), [False] * 4 + [True] * 3 + [False] * 2 + [True])
    with pytest.raises(lw.QuestionError, match="one shape"):
        lw.stream_cosine(a, hooked("gpt2").trace(A))


def test_models_of_different_depth_are_compared_by_depth_only_when_asked() -> None:
    a = lw.ResidualStream().run(hooked("llama").trace(A))
    b = replace(lw.ResidualStream("0").run(hooked("llama").trace(B)), n_layers=7, layers=(3,))
    with pytest.raises(lw.QuestionError, match=r"has 3 layers, .* has 7: .* match='depth'"):
        lw.difference(a, b)
    found = lw.difference(a, b, match="depth")
    # The middle of 3 layers is the middle of 7; the result holds no other.
    assert (found.layers, found.layers_b) == ((1,), (3,))
    np.testing.assert_array_equal(found["norm of resid_post"].b[0, :3], b.norm("resid_post")[0, :3])
    np.testing.assert_array_equal(found["norm of resid_post"].a[0, :3], a.norm("resid_post")[1, :3])


def test_what_cannot_be_compared_is_refused() -> None:
    trace = hooked("llama").trace(A)
    lens, stream = lw.LogitLens().run(trace), lw.ResidualStream().run(trace)
    with pytest.raises(lw.QuestionError, match="got LensGrid and ResidualGrid"):
        lw.difference(lens, stream)
    with pytest.raises(lw.QuestionError, match="hold no layer in common"):
        lw.difference(lw.LogitLens("0").run(trace), lw.LogitLens("1").run(trace))
    with pytest.raises(lw.QuestionError, match="the other resid_mid"):
        lw.difference(lens, lw.LogitLens(component="resid_mid").run(trace))
    with pytest.raises(lw.QuestionError, match="no head in common"):
        lw.difference(lw.Attention(heads="0").run(trace), lw.Attention(heads="1").run(trace))
    named = lw.HookedModel(tiny("llama"), letters(), "tiny").trace("abc")
    other = lw.ResidualStream().run(named)
    swapped = replace(other, pieces={**other.pieces, 1: Piece.from_text(1, "z")})
    with pytest.raises(lw.QuestionError, match="id 1 is “b” in the one, “z” in the other"):
        lw.difference(other, swapped)


def test_the_loss_of_tokens_that_stand_beside_each_other() -> None:
    a, b = (lw.PositionLoss().run(hooked("llama").trace(ids)) for ids in (A, B))
    found = lw.difference(a, b)["loss of the token"]
    at_a, at_b, both = [0, 1, 2, 3, 5, 6], [0, 1, 2, 3, 6, 7], [0, 1, 2, 3, 7, 8]
    for row in range(N_LAYERS):
        np.testing.assert_array_equal(found.change[row, both], b.nats[at_b] - a.nats[at_a])
    np.testing.assert_allclose(found.change[:, 1], 0, atol=1e-5)
    assert np.abs(found.change[0, both[2:]]).min() > 1e-4


def test_what_is_lost_without_a_layer_is_compared_token_by_token() -> None:
    a, b = (lw.SkipEffect(tuple(ids), "1-2").run(hooked("llama")) for ids in (A, B))
    found = lw.difference(a, b)
    assert found.layers == (1, 2)
    kl, loss = found["KL without the layer"], found["rise of the loss without the layer"]
    np.testing.assert_array_equal(kl.change[:, BOTH], b.kl_nats[:, AT_B] - a.kl_nats[:, AT_A])
    rises = [(one.skipped_nats - one.nats)[:, at] for one, at in ((a, AT_A), (b, AT_B))]
    np.testing.assert_array_equal(loss.change[:, BOTH], rises[1] - rises[0])
    assert np.abs(kl.change[:, BOTH[2:]]).max() > 1e-3
    np.testing.assert_allclose(kl.change[:, :2], 0, atol=1e-5)
    other = lw.SkipEffect(tuple(B), "1-2", (lw.SkipLayers("0"),)).run(hooked("llama"))
    with pytest.raises(lw.QuestionError, match=r"'nothing changed' and 'skipping 0'.*same interventions"):
        lw.difference(a, other)


def test_how_far_layers_turn_the_stream_is_compared_layer_by_layer() -> None:
    traces = [hooked("llama").trace(ids) for ids in (A, B)]
    for question, name in (
        (lw.BlockInfluence(), "block influence"),
        (lw.AngularDistance(), "angular distance"),
        (lw.AngularDistance(2), "angular distance of 2 layers"),
    ):
        a, b = (question.run(trace) for trace in traces)
        one = lw.difference(a, b)[name]
        np.testing.assert_array_equal(one.change[:, 0], b.values - a.values)
        assert one.change.shape == (len(a.layers), 1)
        assert np.abs(one.change).max() > 1e-4
    with pytest.raises(lw.QuestionError, match="blocks of 2 layers, the other of 1"):
        lw.difference(lw.AngularDistance(2).run(traces[0]), lw.AngularDistance(1).run(traces[1]))


def test_rollouts_are_compared_where_queries_and_keys_stand_beside_each_other() -> None:
    traces = [hooked("llama").trace(ids) for ids in (A, B)]
    a, b = (lw.AttentionRollout("1-2").run(trace) for trace in traces)
    found = lw.difference(a, b)
    expected = b.rollout[np.ix_(AT_B, AT_B)] - a.rollout[np.ix_(AT_A, AT_A)]
    np.testing.assert_array_equal(found.matrix.change[np.ix_(BOTH, BOTH)], expected)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_array_equal(found.matrix.a[~np.isnan(found.matrix.a)], a.rollout.ravel())
    np.testing.assert_array_equal(found.matrix.b[~np.isnan(found.matrix.b)], b.rollout.ravel())
    assert found.about == "layers 1-2 · attention to the first token is left out"
    with pytest.raises(lw.QuestionError, match="through layers 1-2, the other through 0-2"):
        lw.difference(a, lw.AttentionRollout().run(traces[1]))
    with pytest.raises(lw.QuestionError, match="same hide_first"):
        lw.difference(a, lw.AttentionRollout("1-2", hide_first=False).run(traces[1]))
