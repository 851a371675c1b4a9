"""An anatomy as text: the model in a few lines, then one line for every run of like layers."""

from __future__ import annotations

import re
from itertools import groupby, takewhile
from typing import TYPE_CHECKING

from layerwidget.model.facts import AnatomyFacts, LayerFacts
from layerwidget.model.parts import FeedForward, LayerAnatomy, Part

if TYPE_CHECKING:
    from layerwidget.model.anatomy import Anatomy


def anatomy_table(anatomy: Anatomy) -> str:
    """The text, without a line break at the end."""
    n_heads, n_kv = anatomy.n_heads, anatomy.n_kv_heads
    shared = f" ({n_kv} key/value)" if n_kv != n_heads else ""
    heads = f"{n_heads} heads{shared} of width {anatomy.d_head}" if n_heads else "no attention"
    vocabulary = f", d_vocab {anatomy.d_vocab:,}" if anatomy.d_vocab else ""
    unknown = "not identified (the tail is replayed as a whole)"
    lines = [
        f"{anatomy.name}: {anatomy.n_layers} layers, d_model {anatomy.d_model}, {heads}{vocabulary}, "
        f"{anatomy.n_params:,} parameters",
        f"  embedding   {anatomy.embedding or 'not identified'}",
        f"  final norm  {anatomy.final_norm or unknown}",
    ]
    if anatomy.d_vocab:
        notes = [*anatomy.transform, *(["weights of the embedding"] if anatomy.tied else [])]
        lines.append(f"  head        {anatomy.head or unknown}" + (f" ({', '.join(notes)})" if notes else ""))
    facts = anatomy.facts
    lines += _costs(facts)
    absent = {name: why for name, why in anatomy.absent.items() if name != "cross_attn_out"}
    lines += [f"  no {component}: {reason}" for component, reason in absent.items()]
    lines += _table([_HEADINGS, *_rows(anatomy.layers, facts.layers)])
    return "\n".join([*lines, anatomy_table(anatomy.encoder)] if anatomy.encoder else lines)


_HEADINGS = (
    "layer", "module", "block", "attention adds", "FFN adds", "FFN", "parameters", "FLOPs/token", "cache B/token"
)  # fmt: skip


def _costs(facts: AnatomyFacts) -> list[str]:
    """What a token costs in all layers, and why something of it is not known."""
    known = [
        ("FLOPs with weights", facts.flops_per_token),
        ("for each position it looks at", facts.flops_per_key or None),
        ("bytes of cache", facts.cache_bytes_per_token or None),
    ]
    words = [f"{count:,} {unit}" for unit, count in known if count is not None]
    lines = [f"  per token   {', '.join(words)}"] if words else []
    reasons = dict.fromkeys(reason for layer in facts.layers for reason in layer.reasons)
    outside = [f"FLOPs outside the layers: {facts.reason}"] if facts.reason else []
    return lines + [f"  {reason}" for reason in (*reasons, *outside)]


def _rows(layers: tuple[LayerAnatomy, ...], facts: tuple[LayerFacts, ...]) -> list[tuple[str, ...]]:
    """One row for every run of layers that differ in nothing but their number."""
    rows = [(layer, _row(layer, own)) for layer, own in zip(layers, facts, strict=True)]
    runs = [list(run) for _, run in groupby(rows, key=lambda one: one[1][2:])]
    return [run[0][1] if len(run) == 1 else _run(run[0][0], run[-1][0], run[0][1]) for run in runs]


def _run(first: LayerAnatomy, last: LayerAnatomy, row: tuple[str, ...]) -> tuple[str, ...]:
    module = first.where if first.where == last.where else f"{first.module} … {last.last[0]}"
    return f"{first.layer}-{last.layer}", module, *row[2:]


def _row(layer: LayerAnatomy, facts: LayerFacts) -> tuple[str, ...]:
    order = {True: "parallel", False: "sequential", None: ""}[layer.parallel]
    norms = f"{layer.norms}-norm" if layer.norms in ("pre", "post", "output") else layer.norms
    block = " ".join(word for word in (norms if norms != "none" else "", order) if word)
    mixing = ", ".join(_within(part, layer) for part in layer.parts if part.kind != "mlp")
    mlp = ", ".join(_within(part, layer) for part in layer.parts_of("mlp"))
    kinds = ", ".join(describe(part.feed_forward) for part in layer.parts_of("mlp") if part.feed_forward)
    where = f"{layer.n_params:,}" + (f" on {layer.device}" if layer.device != "cpu" else "")
    flops = "-" if layer.flops.per_token is None else f"{layer.flops.per_token:,}"
    named = str(layer.layer), layer.where, block or "-", mixing or layer.trouble or "-", mlp or "-", kinds or "-"
    return *named, where, flops, _kept(facts)


def _kept(facts: LayerFacts) -> str:
    """What each token adds to the cache: `768`, `768 (last 4,095)`, `state of 2,880 B`."""
    if facts.cache_bytes_per_token is None:
        return "-"
    limit = f" (last {facts.cache_limit:,})" if facts.cache_limit is not None else ""
    state = f"state of {facts.state_bytes:,} B" if facts.state_bytes else ""
    growing = f"{facts.cache_bytes_per_token:,}{limit}" if facts.cache_bytes_per_token or not state else ""
    return " + ".join(word for word in (growing, state) if word)


def describe(ffn: FeedForward) -> str:
    """An FFN in a few words: `gated, 1,536 neurons`, `2 of 8 experts, gated, 64 neurons`."""
    experts = f"{ffn.n_active} of {ffn.n_experts} experts, " if ffn.n_experts else ""
    return f"{experts}{'gated, ' if ffn.gated else ''}{ffn.n_neurons:,} neurons"


def _within(part: Part, layer: LayerAnatomy) -> str:
    names = zip(*(path.split(".") for path in layer.modules), strict=False)
    shared = ".".join(same[0] for same in takewhile(lambda same: len(set(same)) == 1, names))
    text = str(part).replace(f"{shared}.", "") if shared else str(part)
    if layer.further:
        text = re.sub(r"^(\w+)\.\d+\b", r"\1.*", text)
    return text + (" (mixer)" if part.kind == "mixer" else "")


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
