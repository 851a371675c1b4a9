"""Build every causal, masked and sequence-to-sequence language model of the installed transformers, tiny and random."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import torch
import transformers
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.timm_wrapper.modeling_timm_wrapper import TimmWrapperModel
from transformers.pytorch_utils import Conv1D

from tests.conformance.overrides import OVERRIDES
from tests.conformance.shrink import peak, small

GROUPS = {
    "causal": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "masked": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "seq2seq": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
}


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        group: `causal`, `masked` or `seq2seq`.
        config: the configuration's name in transformers.
        model: name of the model's class.
    """

    group: str
    config: str
    model: str

    @property
    def name(self) -> str:
        """Group and configuration: many configurations are in several groups."""
        return f"{self.group}/{self.config}"


@cache
def entries() -> tuple[Entry, ...]:
    """All rows, in transformers' order, which is alphabetic."""
    return tuple(
        Entry(group, config, model if isinstance(model, str) else model[0])
        for group, mapping in GROUPS.items()
        for config, model in getattr(modeling_auto, mapping).items()
    )


def entry(name: str) -> Entry:
    """The row of this name."""
    return next(one for one in entries() if one.name == name)


def build(one: Entry, seed: int = 0) -> transformers.PreTrainedModel:
    """A tiny model in evaluation mode: no gain is one, no bias is zero, attention is peaked."""
    overrides = OVERRIDES.get(one.name, OVERRIDES.get(one.config, {}))
    with quiet():
        kind = getattr(transformers, one.model)
        config = _of_model(small(CONFIG_MAPPING[one.config], overrides), kind)
        if one.group == "causal" and one.config in _causal_when_told():
            config.is_decoder = True
        torch.manual_seed(seed)
        with without_timm():
            model: transformers.PreTrainedModel = kind(config)
    _randomise(model, seed)
    model.eval()
    return model


def _of_model(config: transformers.PreTrainedConfig, kind: type[Any]) -> transformers.PreTrainedConfig:
    """The part of a nested configuration that the model's class takes, as the library's own auto classes choose it."""
    parts: list[transformers.PreTrainedConfig] = [config, *vars(config).values()]
    return next((part for part in parts if isinstance(part, kind.config_class)), config)


@cache
def _causal_when_told() -> frozenset[str]:
    """Configurations of encoders that are decoders when told so."""
    return frozenset({one.config for one in entries() if one.group == "masked"} | {"bert-generation"})


def _randomise(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    kept = set(model.state_dict(keep_vars=True))
    fans_in = _fans_in(model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() > 1:
                if weight.requires_grad:  # a table of sines and cosines is not trained
                    weight.copy_(noise * peak(name, fans_in.get(id(weight), weight.shape[-1])))
            elif bool((weight.abs() < 100).all()):
                weight.add_(0.3 * noise.to(weight.dtype))
            else:
                weight.copy_(1 + 0.3 * noise)  # never initialised
        for name, buffer in model.named_buffers():
            constant = buffer.is_floating_point() and name in kept and bool((buffer == 0).all() or (buffer == 1).all())
            if constant and not name.endswith("running_var"):
                buffer.add_(0.3 * torch.randn(buffer.shape, generator=generator))


def _fans_in(model: torch.nn.Module) -> dict[int, int]:
    """How many numbers each output is made of, for weights whose last axis does not say so."""
    found = {}
    for part in model.modules():
        if isinstance(part, Conv1D):
            found[id(part.weight)] = part.weight.shape[0]
        elif isinstance(part, torch.nn.Conv1d | torch.nn.Conv2d):
            found[id(part.weight)] = math.prod(part.weight.shape[1:])
    return found


@contextlib.contextmanager
def quiet() -> Any:
    """Nothing is said about odd sizes."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def without_timm() -> AbstractContextManager[Any]:
    """Vision towers of a library that is not installed are left out: token ids do not reach them."""
    return mock.patch.object(
        TimmWrapperModel, "_from_config", side_effect=lambda config, **options: torch.nn.Identity()
    )


def inputs(model: transformers.PreTrainedModel, ids: torch.Tensor, target: torch.Tensor | None) -> dict[str, Any]:
    """What plain transformers is called with: token ids, and those of the decoder of an encoder-decoder."""
    accepted = inspect.signature(type(model).forward).parameters
    options: dict[str, Any] = {"use_cache": False} if "use_cache" in accepted else {}
    if target is not None:
        options["decoder_input_ids"] = target
    return {"input_ids": ids, **options}


def takes_target(model: transformers.PreTrainedModel) -> bool:
    """Whether a decoder reads other ids than the encoder."""
    accepted = inspect.signature(type(model).forward).parameters
    return bool(model.config.is_encoder_decoder) and "decoder_input_ids" in accepted
