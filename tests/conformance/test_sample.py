"""A fast sample of the conformance table: architectures that differ, and exactly which checks each has to pass.

The whole table is made by `python -m tests.conformance.run`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.checks import ABSENT, CHECKS, FAIL, PASS

ROOT = Path(__file__).parents[2]

#: Architectures that pass every check.
WHOLE = """
causal/afmoe causal/axk1 causal/bailing_hybrid causal/biogpt causal/bloom causal/cohere2 causal/ctrl
causal/dbrx causal/deepseek_v2 causal/diffllama causal/falcon causal/falcon_h1 causal/gemma2
causal/gemma3_text causal/glm4 causal/gpt2 causal/gpt_bigcode causal/gpt_neo causal/gpt_neox causal/gpt_oss
causal/granite causal/granitemoehybrid causal/jamba causal/kimi_linear causal/lfm2_moe causal/llama
causal/llama4_text causal/mpt causal/nemotron_h causal/olmo2 causal/opt causal/phi causal/qwen2_moe
causal/qwen3_next causal/recurrent_gemma causal/vaultgemma causal/zamba2 masked/esm masked/modernbert
masked/roberta-prelayernorm masked/ultrabert seq2seq/mbart seq2seq/bigbird_pegasus seq2seq/qwen2_audio
""".split()

#: Architectures that lack something, or of which something is not found yet: all but these checks pass.
PARTIAL: dict[str, dict[str, str]] = {
    "causal/mamba": {"attention": ABSENT},
    "causal/xlstm": {"attention": ABSENT},
    "causal/longcat_flash": {"attention": FAIL},  # two attention operations in a layer
}

SAMPLE = {**{name: {} for name in WHOLE}, **PARTIAL}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The rows of the sample, made by the command that makes the whole table."""
    folder = tmp_path_factory.mktemp("conformance")
    command = [
        sys.executable,
        "-m",
        "tests.conformance.run",
        "--jobs",
        "2",
        "--only",
        ",".join(SAMPLE),
        "--out",
        folder,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "table.md").read_text().count("\n| ") >= len(SAMPLE)
    return {row["name"]: row for row in json.loads((folder / "table.json").read_text())["rows"]}


@pytest.mark.parametrize("name", SAMPLE)
def test_checks(name: str, rows: dict[str, Any]) -> None:
    expected = {check: SAMPLE[name].get(check, PASS) for check in CHECKS}
    assert rows[name]["results"] == expected, rows[name]["why"]


def test_the_sample_is_large_and_diverse() -> None:
    assert len(SAMPLE) >= 40
    assert {name.split("/")[0] for name in SAMPLE} == {"causal", "masked", "seq2seq"}
    assert any(ABSENT in results.values() for results in SAMPLE.values())
