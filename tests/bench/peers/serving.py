"""The loop of a peer's process: one request a line on stdin, one answer a line on stdout.

This file and its neighbours run in a peer's own environment, so they import neither layerwidget nor each other's tools.
A request is `{"ids": [...], "answers": false}`; an answer `{"ms": 12.3}`, with the lens where it was asked for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

K = 5

#: Token ids, shape [1, pos] -> probabilities of the K most probable tokens, shape [layer, pos, K].
Run = Callable[[torch.Tensor], torch.Tensor]


def settings() -> tuple[str, int]:
    """The model's folder and the number of threads, from the command line."""
    return sys.argv[1], int(sys.argv[2])


def serve(boot: Callable[[str], Run]) -> None:
    """Boot the tool, say so, and answer requests until stdin ends."""
    # Whatever the tool prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    folder, threads = settings()
    torch.set_num_threads(threads)
    run = boot(folder)
    _say(answers, {"ready": True})
    for line in sys.stdin:
        _say(answers, _answer(run, json.loads(line)))


def _answer(run: Run, request: dict[str, Any]) -> dict[str, Any]:
    ids = torch.tensor([request["ids"]])
    started = time.perf_counter()
    probs = run(ids)
    answer: dict[str, Any] = {"ms": (time.perf_counter() - started) * 1000}
    if request["answers"]:
        answer["top_probs"] = probs.tolist()
    return answer


def _say(answers: Any, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
