"""Which attention fits into memory: of a long prompt, only the layers, or the heads, nearest to the reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerwidget.layers import format_layers, parse_layers
from layerwidget.questions.attention import Attention

if TYPE_CHECKING:
    from layerwidget.model.anatomy import Anatomy


def attention_that_fits(
    anatomy: Anatomy, layers: str, n_pos: int, layer: int, head: int, max_bytes: int
) -> tuple[Attention | None, str]:
    """The question for attention whose weights fit into `max_bytes`, and in words what is left out.

    Args:
        anatomy: the model's.
        layers: the layers in view, a selection.
        n_pos: length of the prompt.
        layer: where the reader is; what is nearest is kept.
        head: the same.
        max_bytes: the most that weights may take, in fp32.
    """
    n_heads = {layer.layer: layer.n_heads for layer in anatomy.layers if layer.n_heads}
    in_view = [number for number in parse_layers(layers, anatomy.n_layers) if number in n_heads]
    # One gallery has one number of heads; layers that differ are left out.
    wanted = [number for number in in_view if n_heads[number] == anatomy.n_heads]
    if not wanted:
        return None, "No layer in view has attention heads." if n_heads else "This model has no attention heads."
    matrices = max_bytes // (4 * n_pos**2)
    room = matrices // anatomy.n_heads
    if room >= len(wanted):
        return Attention(tuple(wanted)), ""
    if not matrices:
        return None, f"Attention is not computed at {n_pos} tokens: one head would take more than {max_bytes >> 20} MB."
    nearest = _nearest(wanted, layer, max(1, room))
    if room:
        return Attention(nearest), f"attention of layers {format_layers(nearest)} only"
    heads = _nearest(list(range(anatomy.n_heads)), head, matrices)
    note = f"attention of layer {nearest[0]}, head{'s' * (len(heads) > 1)} {format_layers(heads)} only"
    return Attention(nearest, heads), note


def _nearest(numbers: list[int], to: int, most: int) -> tuple[int, ...]:
    return tuple(sorted(sorted(numbers, key=lambda number: abs(number - to))[:most]))
