"""Resident memory over a thousand edits in an Explorer: `python -m tests.bench.memory` prints it as JSON."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tests.bench.timing import PeerError

if TYPE_CHECKING:
    import layerwidget as lw

#: Number of edits, as the table has it -> after how many memory is looked at. Between the medians of the first and the
#: last it may grow by `ALLOWED`. What is free goes back to the system from time to time, so that what is resident goes
#: up and down by a tenth: a few looks may all meet the same side of that.
LOOKS = {
    200: tuple(range(150, 251, 10)),
    400: (390, 400, 410),
    600: (590, 600, 610),
    800: (790, 800, 810),
    1000: tuple(range(900, 1001, 10)),
}
ALLOWED = 0.05
_LONGEST = 240
#: What is shown whenever memory is looked at, and how long the work that is done when nothing else is to do may take.
_LOOKED_AT = "The capital of France is"
_IDLE_S = 3.0
_WORDS = "the sun rose over a harbour and seven boats left for Paris 東京 🙂 with bread, apples or 12 letters".split()


@dataclass(frozen=True)
class Look:
    """What is in memory at one moment, MiB.

    Attributes:
        resident: all of it.
        mapped: of which pages of files, such as the model's weights.
    """

    resident: float
    mapped: float


def measure() -> dict[int, Look]:
    """Number of edits -> what is in memory, in a process of its own.

    Raises:
        PeerError: when that fails.
    """
    done = subprocess.run([sys.executable, "-m", __name__], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError((done.stderr.strip().splitlines() or ["no output"])[-1])
    return {int(edits): Look(**look) for edits, look in json.loads(done.stdout).items()}


def medians(looks: Mapping[int, Look]) -> dict[int, float]:
    """Number of edits, as the table has it -> MiB, the median of all looks there."""
    return {edits: statistics.median(looks[one].resident for one in around) for edits, around in LOOKS.items()}


def growth(looks: Mapping[int, Look]) -> float:
    """By which share resident memory grew from the first to the last."""
    first, *_, last = medians(looks).values()
    return last / first - 1


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


def _look(explorer: lw.Explorer) -> Look:
    """With the same prompt at each look, after the idle work: between them only the edits before are others."""
    text = explorer.prompt
    explorer.prompt = _LOOKED_AT
    explorer.wait(600)
    time.sleep(_IDLE_S)
    import psutil

    info = psutil.Process().memory_info()
    explorer.prompt = text
    explorer.wait(600)
    # Only Linux says how much of it files are.
    return Look(info.rss / 2**20, getattr(info, "shared", 0) / 2**20)


def main() -> int:
    """Edit, look, print."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import layerwidget as lw

    chance = random.Random(0)
    explorer = lw.explore(lw.load("demo"), "The capital of France is")
    found = {}
    looks = {edits for around in LOOKS.values() for edits in around}
    for edits in range(1, max(looks) + 1):
        explorer.prompt = edited(explorer.prompt, chance)
        explorer.wait(600)
        if edits in looks:
            found[edits] = asdict(_look(explorer))
    sys.stdout.write(json.dumps(found))
    explorer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
