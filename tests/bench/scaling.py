"""How the time of a new prompt and of one more token grows with tokens, layers and vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import transformers

import layerwidget as lw
from tests.bench.contestants import Append, Cold
from tests.bench.timing import Recorded, Summary, take_turns
from tests.bench.workload import Workload

N_TOKENS = 64
LAYERS, VOCABULARIES = (8, 16, 32), (8_000, 32_000, 128_000)
_FEW = 16, 32_000


@dataclass(frozen=True)
class Curve:
    """One line of the picture.

    Attributes:
        row: `cold` or `append`.
        over: what varies.
        sizes: its values.
        ms: the median time at each.
    """

    row: str
    over: str
    sizes: tuple[int, ...]
    ms: tuple[float, ...]


def curves_over_tokens(recorded: Recorded, lengths: Sequence[int]) -> list[Curve]:
    """From what was measured on the demo model."""
    by_length = dict.fromkeys(lengths, recorded)
    return _curves("tokens", by_length, lambda n: n)


def curves_over_sizes(turns: int, say: Callable[[str], None]) -> list[Curve]:
    """From random models of little width."""
    by_layers = {n_layers: _times(n_layers, _FEW[1], turns, say) for n_layers in LAYERS}
    by_vocabulary = {d_vocab: _times(_FEW[0], d_vocab, turns, say) for d_vocab in VOCABULARIES}
    return [*_curves("layers", by_layers, _fixed), *_curves("vocabulary", by_vocabulary, _fixed)]


def _fixed(_size: int) -> int:
    return N_TOKENS


def _curves(over: str, times: dict[int, Recorded], length: Callable[[int], int]) -> list[Curve]:
    found = []
    for row in ("cold", "append"):
        measured = {size: recorded.of(row, length(size)) for size, recorded in times.items()}
        medians = {size: Summary.of(values).median for size, values in measured.items() if values}
        found.append(Curve(row, over, tuple(medians), tuple(medians.values())))
    return [curve for curve in found if curve.sizes]


def _times(n_layers: int, d_vocab: int, turns: int, say: Callable[[str], None]) -> Recorded:
    work = Workload(random_model(n_layers, d_vocab))
    say(f"{n_layers} layers, vocabulary of {d_vocab}")
    return take_turns([Cold(work), Append(work)], [N_TOKENS], turns, lambda _: None)


def random_model(n_layers: int, d_vocab: int) -> lw.HookedModel:
    """A llama of little width."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=d_vocab,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    return lw.HookedModel(transformers.LlamaForCausalLM(config).eval().requires_grad_(False))
