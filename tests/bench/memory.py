"""Resident memory over a thousand edits in an Explorer: `python -m tests.bench.memory` prints it as JSON."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.bench.timing import PeerError

if TYPE_CHECKING:
    import layerwidget as lw

#: After so many edits memory is looked at; between the first and the last it may grow by `ALLOWED`.
EDITS = (200, 400, 600, 800, 1000)
ALLOWED = 0.05
_LONGEST = 240
#: What is shown whenever memory is looked at, and how long the work that is done when nothing else is to do may take.
_LOOKED_AT = "The capital of France is"
_IDLE_S = 3.0
_WORDS = "the sun rose over a harbour and seven boats left for Paris 東京 🙂 with bread, apples or 12 letters".split()


def measure() -> dict[int, float]:
    """Number of edits -> MiB, in a process of its own.

    Raises:
        PeerError: when that fails.
    """
    done = subprocess.run([sys.executable, "-m", __name__], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError((done.stderr.strip().splitlines() or ["no output"])[-1])
    return {int(edits): mib for edits, mib in json.loads(done.stdout).items()}


def edited(text: str, chance: random.Random) -> str:
    """The text after one edit: mostly a word appended; sometimes one inserted, replaced, deleted, or many pasted."""
    words = text.split(" ")
    place = chance.randrange(len(words))
    kind = chance.choices(("append", "insert", "replace", "delete", "paste"), (5, 1, 2, 2, 0.3))[0]
    if kind == "append":
        words.append(chance.choice(_WORDS))
    elif kind == "insert":
        words.insert(place, chance.choice(_WORDS))
    elif kind == "replace":
        words[place] = chance.choice(_WORDS)
    elif kind == "delete":
        del words[place : place + chance.randrange(1, 6)]
    else:
        words[place:place] = chance.choices(_WORDS, k=12)
    return " ".join(words)[-_LONGEST:] or "The"


def _resident_mib(explorer: lw.Explorer) -> float:
    """With the same prompt at each look, after the idle work: between them only the edits before are others."""
    text = explorer.prompt
    explorer.prompt = _LOOKED_AT
    explorer.wait(600)
    time.sleep(_IDLE_S)
    import psutil

    resident = psutil.Process().memory_info().rss / 2**20
    explorer.prompt = text
    explorer.wait(600)
    return float(resident)


def main() -> int:
    """Edit, look, print."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import layerwidget as lw

    chance = random.Random(0)
    explorer = lw.explore(lw.load("demo"), "The capital of France is")
    found = {}
    for edits in range(1, EDITS[-1] + 1):
        explorer.prompt = edited(explorer.prompt, chance)
        explorer.wait(600)
        if edits in EDITS:
            found[edits] = _resident_mib(explorer)
    sys.stdout.write(json.dumps(found))
    explorer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
