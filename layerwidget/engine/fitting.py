"""Which layers' attention fits into memory: of a long prompt, only those nearest to the reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerwidget.layers import format_layers, parse_layers

if TYPE_CHECKING:
    from layerwidget.model.anatomy import Anatomy


def attention_that_fits(
    anatomy: Anatomy, layers: str, n_pos: int, near: int, max_bytes: int
) -> tuple[tuple[int, ...], str]:
    """The layers of a selection whose weights fit into `max_bytes`, nearest to layer `near`, and what is left out."""
    n_heads = {layer.layer: layer.n_heads for layer in anatomy.layers if layer.n_heads}
    in_view = [layer for layer in parse_layers(layers, anatomy.n_layers) if layer in n_heads]
    # One gallery has one number of heads; layers that differ are left out.
    wanted = [layer for layer in in_view if n_heads[layer] == anatomy.n_heads]
    if not wanted:
        return (), "No layer in view has attention heads." if n_heads else "This model has no attention heads."
    room = max_bytes // (4 * anatomy.n_heads * n_pos**2)
    if room >= len(wanted):
        return tuple(wanted), ""
    if not room:
        return (), f"Attention is not computed at {n_pos} tokens: one layer would take more than {max_bytes >> 20} MB."
    nearest = sorted(sorted(wanted, key=lambda number: abs(number - near))[:room])
    return tuple(nearest), f"attention of layers {format_layers(nearest)} only"
