"""Model maps written by hand, one for every way to build a layer: what the layer map has to be able to draw."""

from __future__ import annotations

import math
from dataclasses import replace

from layerwidget.model_map import MapElement, MapLayer, MapStep, MapWeight, ModelMap

#: A module may have any name; this one must stay text.
HOSTILE = "<img src=x onerror=\"document.title='broken'\">"


def element(kind: str, title: str, module: str, *details: str, **shapes: tuple[int, ...]) -> MapElement:
    """An element whose parameters are named by keyword: `q_proj__weight=(64, 64)`."""
    weights = tuple(MapWeight(f"{module}.{name.replace('__', '.')}", shape) for name, shape in shapes.items())
    return MapElement(kind, title, details, module, weights, sum(math.prod(one.shape) for one in weights))


def norm(module: str, width: int, title: str = "RMSNorm", bias: bool = False) -> MapElement:
    return element("norm", title, module, weight=(width,), **({"bias": (width,)} if bias else {}))


def branch(*elements: MapElement, parallel: bool = False) -> MapStep:
    return MapStep("branch", elements, parallel)


def trunk(*elements: MapElement) -> MapStep:
    return MapStep("trunk", elements)


def layer(number: int, module: str, norms: str, *steps: MapStep, device: str = "cpu", trouble: str = "") -> MapLayer:
    n_params = sum(one.n_params for step in steps for one in step.elements)
    weights = [one for step in steps for part in step.elements for one in part.weights]
    keys = sum(one.shape[0] for one in weights if one.path.endswith((".k_proj.weight", ".k.weight")))
    state = sum(math.prod(one.shape) for one in weights if one.path.endswith(".A_log"))
    return MapLayer(
        number, module, norms, steps, n_params, device, trouble,
        flops_per_token=2 * sum(math.prod(one.shape) for one in weights if len(one.shape) == 2),
        flops_per_key=4 * keys, cache_bytes_per_token=8 * keys, state_bytes=4 * state,
        notes=("FLOPs: without what it does to its state",) if state else (),
    )  # fmt: skip


def whole(
    name: str, before: tuple[MapElement, ...], layers: list[MapLayer], after: tuple[MapElement, ...], *,
    d_model: int, d_vocab: int, tied: bool = False, encoder: ModelMap | None = None,
) -> ModelMap:  # fmt: skip
    inside = sum(one.n_params for one in layers) + (encoder.n_params if encoder else 0)
    ends = sum(one.n_params for one in (*before, *after) if not (tied and one.kind == "head"))
    if encoder and tied:
        ends -= sum(one.n_params for one in before)
    flops, keys, kept = (
        sum(getattr(one, name) for one in layers)
        for name in ("flops_per_token", "flops_per_key", "cache_bytes_per_token")
    )
    return ModelMap(
        name, before, tuple(layers), after, inside + ends, d_model, d_vocab, tied, encoder,
        flops + 2 * d_model * d_vocab, keys, kept,
    )  # fmt: skip


def gqa(module: str, d_model: int, heads: int, kv_heads: int, width: int, *details: str) -> MapElement:
    described = (
        f"{heads} heads ({kv_heads} key/value) of width {width}"
        if kv_heads != heads
        else f"{heads} heads of width {width}"
    )
    return element(
        "attention", "attention", module, described, *details,
        q_proj__weight=(heads * width, d_model), k_proj__weight=(kv_heads * width, d_model),
        v_proj__weight=(kv_heads * width, d_model), o_proj__weight=(d_model, heads * width),
    )  # fmt: skip


def gated(module: str, d_model: int, neurons: int) -> MapElement:
    return element(
        "mlp", "gated FFN", module, f"{neurons:,} neurons", "SiLU",
        gate_proj__weight=(neurons, d_model), up_proj__weight=(neurons, d_model), down_proj__weight=(d_model, neurons),
    )  # fmt: skip


def ends(d_vocab: int, d_model: int, prefix: str = "model", tied: bool = True) -> tuple[tuple[MapElement, ...], ...]:
    before = (element("embedding", "token embedding", f"{prefix}.embed_tokens", weight=(d_vocab, d_model)),)
    head = element(
        "head", "head", "lm_head", "the embedding's weights" if tied else "its own weights", weight=(d_vocab, d_model)
    )
    return before, (norm(f"{prefix}.norm", d_model), head)


def pre_norm(n_layers: int = 30, device: str = "cpu") -> ModelMap:
    """SmolLM2-135M: pre-norm, grouped heads, gated FFN, tied head."""
    before, after = ends(49152, 576)

    def one(number: int) -> MapLayer:
        module = f"model.layers.{number}"
        return layer(
            number, module, "pre",
            branch(norm(f"{module}.input_layernorm", 576), gqa(f"{module}.self_attn", 576, 9, 3, 64)),
            branch(norm(f"{module}.post_attention_layernorm", 576), gated(f"{module}.mlp", 576, 1536)),
            device=device,
        )  # fmt: skip

    layers = [one(number) for number in range(n_layers)]
    return whole("SmolLM2-135M-Instruct", before, layers, after, d_model=576, d_vocab=49152, tied=True)


def plain(kind: str, title: str, module: str, *details: str, **sizes: tuple[int, int]) -> MapElement:
    """An element of linear maps that all have a bias."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (rows, columns) in sizes.items():
        shapes |= {f"{name}__weight": (rows, columns), f"{name}__bias": (rows,)}
    return element(kind, title, module, *details, **shapes)


def post_norm(n_layers: int = 12) -> ModelMap:
    """BERT: the norm is on the stream, after each addition."""

    def one(number: int) -> MapLayer:
        module = f"bert.encoder.layer.{number}"
        wide = (768, 768)
        attention = plain(
            "attention", "attention", f"{module}.attention", "12 heads of width 64", "looks both ways",
            self__query=wide, self__key=wide, self__value=wide, output__dense=wide,
        )  # fmt: skip
        mlp = plain(
            "mlp", "FFN", f"{module}", "3,072 neurons", "GELU",
            intermediate__dense=(3072, 768), output__dense=(768, 3072),
        )  # fmt: skip
        after_attention = norm(f"{module}.attention.output.LayerNorm", 768, "LayerNorm", bias=True)
        after_mlp = norm(f"{module}.output.LayerNorm", 768, "LayerNorm", bias=True)
        return layer(number, module, "post", branch(attention), trunk(after_attention), branch(mlp), trunk(after_mlp))

    before = (
        element("embedding", "token embedding", "bert.embeddings.word_embeddings", weight=(30522, 768)),
        element("embedding", "positions", "bert.embeddings.position_embeddings", "learned, 512", weight=(512, 768)),
        norm("bert.embeddings.LayerNorm", 768, "LayerNorm", bias=True),
    )
    transform = plain("mlp", "transform", "cls.predictions.transform", "GELU", dense=(768, 768))
    head = element("head", "head", "cls.predictions.decoder", weight=(30522, 768), bias=(30522,))
    layers = [one(number) for number in range(n_layers)]
    return whole("bert-base-uncased", before, layers, (transform, head), d_model=768, d_vocab=30522, tied=True)


def parallel(n_layers: int = 28) -> ModelMap:
    """GPT-J: attention and FFN read the same normed stream."""

    def one(number: int) -> MapLayer:
        module = f"transformer.h.{number}"
        attention = element(
            "attention", "attention", f"{module}.attn", "16 heads of width 256", "rotary positions",
            q_proj__weight=(4096, 4096), k_proj__weight=(4096, 4096),
            v_proj__weight=(4096, 4096), out_proj__weight=(4096, 4096),
        )  # fmt: skip
        mlp = plain("mlp", "FFN", f"{module}.mlp", "16,384 neurons", "GELU", fc_in=(16384, 4096), fc_out=(4096, 16384))
        ln = norm(f"{module}.ln_1", 4096, "LayerNorm", bias=True)
        return layer(number, module, "pre", branch(ln, attention), branch(ln, mlp, parallel=True))

    before = (element("embedding", "token embedding", "transformer.wte", weight=(50400, 4096)),)
    final = norm("transformer.ln_f", 4096, "LayerNorm", bias=True)
    head = element("head", "head", "lm_head", weight=(50400, 4096), bias=(50400,))
    return whole(
        "gpt-j-6b", before, [one(number) for number in range(n_layers)], (final, head), d_model=4096, d_vocab=50400
    )


def sandwich(n_layers: int = 26) -> ModelMap:
    """Gemma 3: norms on both sides of each sublayer, five windowed layers for each one that sees everything."""

    def one(number: int) -> MapLayer:
        module = f"model.layers.{number}"
        window = () if number % 6 == 5 else ("window of 512 positions",)
        attention = gqa(f"{module}.self_attn", 1152, 4, 1, 256, *window)
        attention = replace(attention, title="windowed attention" if window else "attention")
        before, after, before_mlp, after_mlp = (
            norm(f"{module}.{place}_layernorm", 1152)
            for place in ("input", "post_attention", "pre_feedforward", "post_feedforward")
        )
        return layer(
            number, module, "sandwich",
            branch(before, attention, after), branch(before_mlp, gated(f"{module}.mlp", 1152, 6912), after_mlp),
        )  # fmt: skip

    (embedding,), after = ends(262144, 1152)
    before = (embedding, MapElement("scale", "× 33.94"))
    layers = [one(number) for number in range(n_layers)]
    return whole("gemma-3-1b-it", before, layers, after, d_model=1152, d_vocab=262144, tied=True)


def hybrid(n_layers: int = 32) -> ModelMap:
    """Jamba: one attention layer in eight, Mamba in the others; every other FFN is a mixture of experts."""

    def mixing(number: int, module: str) -> MapElement:
        if number % 8 == 4:
            return gqa(f"{module}.self_attn", 4096, 32, 8, 128)
        return element(
            "mixer", "Mamba", f"{module}.mamba", "state of 16 per channel", "convolution over 4 positions",
            in_proj__weight=(16384, 4096), conv1d__weight=(8192, 1, 4), conv1d__bias=(8192,),
            x_proj__weight=(288, 8192), dt_proj__weight=(8192, 256), dt_proj__bias=(8192,),
            A_log=(8192, 16), D=(8192,), out_proj__weight=(4096, 8192),
        )  # fmt: skip

    def mlp(number: int, module: str) -> MapElement:
        if number % 2 == 0:
            return gated(f"{module}.feed_forward", 4096, 14336)
        return element(
            "mlp", "MoE", f"{module}.feed_forward", "16 experts, 2 per token", "14,336 neurons each",
            router__weight=(16, 4096), experts__gate_up_proj=(16, 28672, 4096), experts__down_proj=(16, 4096, 14336),
        )  # fmt: skip

    def one(number: int) -> MapLayer:
        module = f"model.layers.{number}"
        return layer(
            number, module, "pre",
            branch(norm(f"{module}.input_layernorm", 4096), mixing(number, module)),
            branch(norm(f"{module}.pre_ff_layernorm", 4096), mlp(number, module)),
            device="cuda:0" if number < 20 else "cuda:1",
        )  # fmt: skip

    before, after = ends(65536, 4096, tied=False)
    layers = [one(number) for number in range(n_layers)]
    return whole("Jamba-v0.1", before, layers, after, d_model=4096, d_vocab=65536)


def encoder_decoder(n_layers: int = 6) -> ModelMap:
    """T5: an encoder beside the decoder, whose layers look back at it."""

    def attention(kind: str, title: str, module: str) -> MapElement:
        shapes = {f"{letter}__weight": (512, 512) for letter in "qkvo"}
        return element(kind, title, module, "8 heads of width 64", **shapes)

    def mlp(module: str) -> MapElement:
        return element("mlp", "FFN", module, "2,048 neurons", "ReLU", wi__weight=(2048, 512), wo__weight=(512, 2048))

    def one(stack: str, number: int) -> MapLayer:
        module = f"{stack}.block.{number}"
        pieces = [("attention", "attention", "SelfAttention")]
        if stack == "decoder":
            pieces.append(("cross_attention", "cross-attention", "EncDecAttention"))
        steps = [
            branch(
                norm(f"{module}.layer.{place}.layer_norm", 512),
                attention(kind, title, f"{module}.layer.{place}.{name}"),
            )
            for place, (kind, title, name) in enumerate(pieces)
        ]
        last = f"{module}.layer.{len(pieces)}"
        steps.append(branch(norm(f"{last}.layer_norm", 512), mlp(f"{last}.DenseReluDense")))
        return layer(number, module, "pre", *steps)

    before = (element("embedding", "token embedding", "shared", weight=(32128, 512)),)
    encoder = whole(
        "encoder", before, [one("encoder", number) for number in range(n_layers)],
        (norm("encoder.final_layer_norm", 512),), d_model=512, d_vocab=32128,
    )  # fmt: skip
    head = element("head", "head", "lm_head", weight=(32128, 512))
    return whole(
        "t5-small", before, [one("decoder", number) for number in range(n_layers)],
        (norm("decoder.final_layer_norm", 512), MapElement("scale", "× 0.0442"), head),
        d_model=512, d_vocab=32128, tied=True, encoder=encoder,
    )  # fmt: skip


def with_trouble() -> ModelMap:
    """Five layers of which one could not be taken apart, with module names that try to be markup."""
    known = pre_norm(5)
    reason = "its output is not its input plus the outputs of its modules (largest difference 0.37)"
    lost = replace(known.layers[2], steps=(), norms="", trouble=reason)
    bad = replace(
        known.layers[3],
        module=HOSTILE,
        steps=(branch(replace(known.layers[3].steps[0].main, title="<b>attention</b>", module=HOSTILE)),),
    )
    layers = (*known.layers[:2], lost, bad, known.layers[4])
    return replace(known, name="<i>odd</i> model", layers=layers)


MAPS = {
    "pre_norm": pre_norm, "post_norm": post_norm, "parallel": parallel, "sandwich": sandwich,
    "hybrid": hybrid, "encoder_decoder": encoder_decoder, "with_trouble": with_trouble,
}  # fmt: skip
