"""A fast sample of the conformance table: architectures that differ, and exactly which checks each has to pass.

The whole table is made by `python -m tests.conformance.run`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.checks import CHECKS
from tests.conformance.half import HALF_CHECKS
from tests.conformance.rows import ABSENT, FAIL, PASS

ROOT = Path(__file__).parents[2]

#: Architectures that pass every check.
WHOLE = """
causal/afmoe causal/axk1 causal/bailing_hybrid causal/biogpt causal/bloom causal/cohere2 causal/ctrl
causal/dbrx causal/deepseek_v2 causal/diffllama causal/falcon causal/falcon_h1 causal/gemma2
causal/gemma3_text causal/gemma4_text causal/glm4 causal/gpt2 causal/gpt_bigcode causal/gpt_neo causal/gpt_neox
causal/gpt_oss causal/granite causal/granitemoehybrid causal/jamba causal/kimi_linear causal/lfm2_moe causal/llama
causal/llama4_text causal/longcat_flash causal/mllama causal/mpt causal/nemotron_h causal/olmo2 causal/opt causal/phi
causal/qwen2_moe causal/qwen3_next causal/recurrent_gemma causal/vaultgemma causal/zamba2 causal/zaya causal/cpmant
causal/hy_v4 causal/gpt_neox_japanese causal/minimax causal/xlm masked/albert masked/bert masked/squeezebert
masked/esm masked/modernbert masked/neomme masked/roberta-prelayernorm masked/ultrabert seq2seq/bigbird_pegasus
seq2seq/fsmt seq2seq/led seq2seq/mbart seq2seq/pegasus_x seq2seq/qwen2_audio seq2seq/t5
""".split()

#: Architectures that lack something, or of which something is not found yet: all but these checks pass.
PARTIAL: dict[str, dict[str, str]] = {
    "causal/mamba": {"attention": ABSENT},
    "causal/xlstm": {"attention": ABSENT},
    "masked/yoso": {"attention": ABSENT},  # attention, but no softmax
    # Between its layers something is added that belongs to none.
    "causal/blt": {"residual": FAIL, "attribution": ABSENT, "skip": FAIL},
}

#: Architectures whose logits are refused to be split over their parts, as they are not a sum: the stream itself is
#: normed, the head is more than a product, or its final norm was not found.
NO_SUM = """
causal/blt causal/minimax causal/hy_v4 causal/xlm masked/albert masked/bert masked/squeezebert masked/esm
masked/modernbert masked/neomme masked/roberta-prelayernorm masked/ultrabert masked/yoso seq2seq/fsmt seq2seq/led
""".split()

#: Causal architectures of which no way of reusing a prompt is right, so that every edit is computed anew; of `hy_v4`,
#: which looks at a choice of keys, plain transformers itself says something else of a beginning with what follows it.
ANEW = """
causal/blt causal/cpmant causal/hy_v4 causal/minimax causal/nemotron_h causal/recurrent_gemma causal/xlm causal/xlstm
causal/zamba2
""".split()
#: All others that are not causal see what comes after a position; this one is an encoder of sounds before a decoder.
SEQUENTIAL = "seq2seq/qwen2_audio"

SAMPLE = {**{name: {} for name in WHOLE}, **PARTIAL}
SAMPLE = {name: {**results, **({"attribution": ABSENT} if name in NO_SUM else {})} for name, results in SAMPLE.items()}
SAMPLE = {
    name: {**results, **({"edits": ABSENT} if name in ANEW or not name.startswith(("causal/", SEQUENTIAL)) else {})}
    for name, results in SAMPLE.items()
}

#: Rounded to bfloat16.
HALF = "causal/gemma2 causal/granite causal/llama causal/mamba masked/bert seq2seq/t5".split()


def _rows(folder: Path, names: Iterable[str], *options: str) -> dict[str, Any]:
    """Rows, made by the command that makes the whole table."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "tests.conformance.run",
        "--only",
        ",".join(names),
        "--out",
        folder,
        *options,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (table,) = folder.glob("*.md")
    made = json.loads(table.with_suffix(".json").read_text())["rows"]
    assert table.read_text().count("\n| ") >= len(made)
    return {row["name"]: row for row in made}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _rows(tmp_path_factory.mktemp("conformance"), SAMPLE)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _rows(tmp_path_factory.mktemp("half"), HALF, "--dtype", "bfloat16")


@pytest.mark.parametrize("name", SAMPLE)
def test_checks(name: str, rows: dict[str, Any]) -> None:
    expected = {check: SAMPLE[name].get(check, PASS) for check in CHECKS}
    assert rows[name]["results"] == expected, rows[name]["why"]


@pytest.mark.parametrize("name", HALF)
def test_half_precision(name: str, half: dict[str, Any]) -> None:
    assert half[name]["results"] == dict.fromkeys(HALF_CHECKS, PASS), half[name]["why"]


def test_the_sample_is_large_and_diverse() -> None:
    assert len(SAMPLE) >= 40
    assert {name.split("/")[0] for name in SAMPLE} == {"causal", "masked", "seq2seq"}
    assert any(ABSENT in results.values() for results in SAMPLE.values())
