"""Answers in a file: what a model said of some prompts, to be read, drawn and computed with where there is no model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from layerwidget.array_files import read_arrays, write_arrays
from layerwidget.errors import RecordingError
from layerwidget.plain import packed, registered, unpacked
from layerwidget.results import Grid

#: A result by its name: what `Explorer.results` holds.
Answers = Mapping[str, Any]


@registered
@dataclass(frozen=True, eq=False)
class RecordedPrompt:
    """What was found out about one prompt.

    Attributes:
        prompt: its text; what its tokens look like, where it was never text.
        answers: name -> result. Names that explorers use, such as `lens`, are drawn by the page that they belong to.
        questions: name -> the question that it answers, as far as that was recorded.
        state: of the explorer (`Explorer.state`), as JSON; None where it was none.
    """

    prompt: str
    answers: Mapping[str, Any]
    questions: Mapping[str, Any] = field(default_factory=dict)
    state: Any = None


@registered
@dataclass(frozen=True, eq=False)
class Recording:
    """What a file of answers holds.

    Attributes:
        prompts: one after the other, at least one.
        model_name: which model answered.
    """

    prompts: tuple[RecordedPrompt, ...]
    model_name: str = ""

    def __post_init__(self) -> None:
        """Check that there is something.

        Raises:
            RecordingError: when there is nothing.
        """
        if not any(one.answers for one in self.prompts):
            raise RecordingError("Expected answers to record; got none. Pass results, such as LogitLens().run(trace).")

    @property
    def answers(self) -> Answers:
        """Those about the first prompt."""
        return self.prompts[0].answers

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, which is replaced as a whole.

        Raises:
            RecordingError: when it holds something that has no place in a file.
            OSError: when the file cannot be written.
        """
        arrays: dict[str, np.ndarray] = {}
        same: dict[int, str] = {}

        def keep(value: Any, at: str) -> dict[str, Any] | None:
            if not isinstance(value, np.ndarray):
                return None
            if value.dtype.kind not in "biuf":
                raise RecordingError(f"{at} is an array of {value.dtype}; files hold numbers and truth values.")
            # Results of one prompt share its token ids.
            name = same.setdefault(id(value), f"{len(arrays)}{at}")
            arrays[name] = np.array(value, order="C")
            return {"name": name}

        content = packed(self, keep)
        write_arrays(path, "answers", {"content": content}, arrays, save_file)


def recorded(*answers: Any, **named: Any) -> Recording:
    """A recording of results. Those about one prompt belong together; those about none belong to all.

    Args:
        answers: results; views find their place by their type.
        named: results by names, such as `lens`.

    Raises:
        RecordingError: when there are none, or they are of several models.
    """
    several = {**{_name(one, place): one for place, one in enumerate(answers)}, **named}
    grids = [one for one in several.values() if isinstance(one, Grid)]
    models = sorted({one.model_name for one in grids})
    if len(models) > 1:
        raise RecordingError(f"Expected results of one model; got some of {', '.join(models)}. Save them apart.")
    keys = {name: _prompt_of(one) for name, one in several.items()}
    prompts = []
    for key in dict.fromkeys(found for found in keys.values() if found is not None) or (None,):
        here = {name: one for name, one in several.items() if keys[name] in (key, None)}
        text = next((_text(one) for name, one in here.items() if keys[name] is not None and isinstance(one, Grid)), "")
        prompts.append(RecordedPrompt(text, here))
    return Recording(tuple(prompts), models[0] if models else "")


def save(path: str | os.PathLike[str], *answers: Any, **named: Any) -> None:
    """Write results to a file that `lw.replay` draws and `lw.read` reads, without a model and without torch.

    Args:
        path: the file, such as `"france.safetensors"`; it is replaced as a whole.
        answers: results of one model, about one prompt or several.
        named: results by names: `lens=...`.

    Raises:
        RecordingError: when there are none, they are of several models, or hold something that has no place in a file.
        OSError: when the file cannot be written.
    """
    recorded(*answers, **named).save(path)


def read(path: str | os.PathLike[str]) -> Recording:
    """Read a file of answers.

    Raises:
        RecordingError: when there is no such file, or it is damaged, of another kind or of another version.
    """
    manifest, arrays = read_arrays(path, "answers")
    for array in arrays.values():
        array.setflags(write=False)

    def fetch(reference: dict[str, Any]) -> np.ndarray:
        name = reference.get("name")
        if not isinstance(name, str) or name not in arrays:
            raise RecordingError(f"{path} refers to an array {str(name)[:60]!r} that it does not hold.")
        found: np.ndarray = arrays[name]
        return found

    content = unpacked(manifest.get("content"), fetch, str(path))
    if not isinstance(content, Recording):
        raise RecordingError(f"{path} holds no recording.")
    return content


def _name(answer: Any, place: int) -> str:
    return f"{type(answer).__name__} {place}"


def _prompt_of(answer: Any) -> tuple[int, ...] | None:
    """The token ids that a result is about; None where it is about no prompt, or about two."""
    about: Sequence[Any] = answer if isinstance(answer, tuple) and answer else (answer,)
    first = about[0]
    return tuple(first.token_ids.tolist()) if isinstance(first, Grid) and first.of_prompt else None


def _text(grid: Grid) -> str:
    pieces = grid.prompt_pieces()
    texts = [piece.text for piece in pieces if piece.text is not None]
    return "".join(texts) if len(texts) == len(pieces) else " ".join(piece.visible for piece in pieces)
