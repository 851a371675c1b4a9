"""Who is timed in this process: layerwidget, plain transformers, and the least that any lens must compute."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
import transformers

import layerwidget as lw
from layerwidget.analysis.decoding import BLOCK_BYTES, BLOCK_WIDTH
from tests.bench.answers import check_live, check_logits, check_probs
from tests.bench.hidden import InExplorer
from tests.bench.peers.serving import K
from tests.bench.timing import REST_S, Contestant, Times, clock_ms
from tests.bench.workload import Workload
from tests.tiny import eager_twin

#: Turns before the first one that is timed.
CHECKED = (-2, -1)
#: Edits of one engine before the first that is timed.
N_EARLIER = 8


class _Here(ABC):
    """A contestant in this process.

    Attributes:
        key: its row in the table.
    """

    key: str

    def __init__(self, work: Workload) -> None:
        self.work = work
        self.hf_model = work.model.hf_model

    @abstractmethod
    def prepared(self, n: int, turn: int) -> Callable[[], Any]:
        """Bring everything to where it is before the edit, and return what is to be timed."""

    @abstractmethod
    def check(self, n: int) -> None:
        """Run once and raise where the answers are wrong."""

    @torch.no_grad()
    def times_ms(self, n: int, turn: int) -> Times:
        """How long one run takes, after a rest: what comes before it may have been a run."""
        run = self.prepared(n, turn)
        time.sleep(REST_S)
        return {self.key: clock_ms(run)}


class Forward(_Here):
    """Plain transformers: one pass, no cache, no hooks."""

    key = "forward"

    def prepared(self, n: int, turn: int) -> Callable[[], Any]:
        """A pass over the whole prompt."""
        ids = torch.tensor([self.work.appended(n, turn)])
        return lambda: self.hf_model(ids, use_cache=False).logits[0]

    @torch.no_grad()
    def check(self, n: int) -> None:
        """The logits are those of the trace."""
        check_logits(self.prepared(n, -1)(), self.work.model, self.work.appended(n, -1))


class Cached(_Here):
    """Plain transformers: one more token after a cache."""

    key = "cached"

    def __init__(self, work: Workload) -> None:
        super().__init__(work)
        self.caches: dict[int, transformers.DynamicCache] = {}

    def prepared(self, n: int, turn: int) -> Callable[[], Any]:
        """A pass over the last token; the cache holds the others."""
        ids = torch.tensor([self.work.appended(n, turn)])
        if n not in self.caches:
            self.caches[n] = transformers.DynamicCache()
            self.hf_model(ids[:, :-1], past_key_values=self.caches[n], use_cache=True)
        cache = self.caches[n]
        # A negative number is how many to remove.
        excess = cache.get_seq_length() - (n - 1)
        if excess:
            cache.crop(-excess)
        return lambda: self.hf_model(ids[:, -1:], past_key_values=cache, use_cache=True).logits[0]

    @torch.no_grad()
    def check(self, n: int) -> None:
        """The logits are those of the last position of the trace, also after a crop."""
        for turn in CHECKED:
            check_logits(self.prepared(n, turn)(), self.work.model, self.work.appended(n, turn))


class Product(_Here):
    """The bare matrix product of the lens: rows x d_model @ d_model x d_vocab, in the fastest blocks that we know."""

    def __init__(self, work: Workload, appended: bool) -> None:
        super().__init__(work)
        self.key = "gemm_append" if appended else "gemm_cold"
        self.appended = appended
        self.W_U = self.hf_model.get_output_embeddings().weight.detach()
        # Written to beforehand: the first touch of memory is no part of a product.
        self.logits = torch.ones(BLOCK_BYTES // (4 * BLOCK_WIDTH), BLOCK_WIDTH, dtype=self.W_U.dtype)

    def prepared(self, n: int, turn: int) -> Callable[[], Any]:
        """Products of random rows: all of the grid, or those of one position."""
        rows = torch.randn(self.work.n_layers * (1 if self.appended else n), self.W_U.shape[1], dtype=self.W_U.dtype)
        chunks = rows.split(len(self.logits))
        blocks = self.W_U.split(BLOCK_WIDTH)

        def products() -> None:
            for chunk, block in product(chunks, blocks):
                torch.mm(chunk, block.T, out=self.logits[: len(chunk), : len(block)])

        return products

    def check(self, n: int) -> None:
        """Nothing to compare; this warms up."""
        self.prepared(n, -1)()


class Naive(_Here):
    """What one would write with transformers alone: all hidden states, eager attention, a softmax for each layer."""

    key = "naive"

    def __init__(self, work: Workload) -> None:
        super().__init__(work)
        self.eager = eager_twin(self.hf_model).requires_grad_(False)

    def prepared(self, n: int, turn: int) -> Callable[[], Any]:
        """Probabilities, shape [layer, pos, K]."""
        ids = torch.tensor([self.work.appended(n, turn)])
        return lambda: self._lens(ids)

    def _lens(self, ids: torch.Tensor) -> torch.Tensor:
        out = self.eager(ids, use_cache=False, output_hidden_states=True, output_attentions=True)
        assert len(out.attentions) == self.work.n_layers
        logits = (self.eager.lm_head(self.eager.model.norm(hidden)) for hidden in out.hidden_states[1:-1])
        # The last of the hidden states has been through the final norm.
        return torch.stack([each[0].softmax(-1).topk(K).values for each in (*logits, out.logits)])

    @torch.no_grad()
    def check(self, n: int) -> None:
        """The probabilities are those of the lens."""
        check_probs(self.prepared(n, -1)().numpy(), self.work.model, self.work.appended(n, -1))


class Cold(_Here):
    """layerwidget on a prompt that it has never seen; also the moment of its first answer."""

    key = "cold"

    def times_ms(self, n: int, turn: int) -> Times:
        """The first part of an answer, and all of them."""
        told: list[float] = []
        live, ids = lw.Live(self.work.model), self.work.appended(n, turn)
        started = time.perf_counter()
        self.work.update(live, ids, told=lambda: told.append(time.perf_counter()))
        return {"cold": (time.perf_counter() - started) * 1000, "first": (told[0] - started) * 1000}

    def prepared(self, n: int, turn: int) -> Callable[[], Any]:
        """All answers about a prompt."""
        return partial(self.work.update, lw.Live(self.work.model), self.work.appended(n, turn))

    def check(self, n: int) -> None:
        """The answers are those of a full pass."""
        check_live(self.prepared(n, -1)(), self.work.model)


class _Edited(_Here):
    """layerwidget on a prompt that is being edited: one engine for each length, that goes from edit to edit.

    Every edit is one that it has never seen, for it keeps answers about recent prompts.
    """

    def __init__(self, work: Workload) -> None:
        super().__init__(work)
        self.lives: dict[int, lw.Live] = {}

    def live(self, n: int) -> lw.Live:
        """The engine for prompts of this length; what it does once for each model is done before the first edit."""
        if n not in self.lives:
            self.lives[n] = lw.Live(self.work.model)
            self.lives[n].prepare()
        return self.lives[n]

    def check(self, n: int) -> None:
        """The answers are those of a full pass, also after a second edit.

        A few edits more, and the memory of recent answers is full, as it is when one has typed for a while: the first
        touch of memory is no part of an edit, as it is none of the products.
        """
        for turn in CHECKED:
            check_live(self.prepared(n, turn)(), self.work.model)
        for turn in range(N_EARLIER):
            self.prepared(n, CHECKED[0] - 1 - turn)()


class Append(_Edited):
    """One token more than what was typed before.

    What is shown before is computed, not recalled: an engine that recalls an answer still holds the prompt after that
    one, and would have to cut it first. The cache of the plain pass is cut before it is timed, too.
    """

    key = "append"

    def prepared(self, n: int, turn: int) -> Callable[[], Any]:
        """From n - 1 tokens to n."""
        live, ids = self.live(n), self.work.going_on(n, turn)
        self.work.update(live, ids[:-1])
        return partial(self.work.update, live, ids)


class Middle(_Edited):
    """Another token in the middle of what is shown."""

    key = "middle"

    def prepared(self, n: int, turn: int) -> Callable[[], Any]:
        """From one token in the middle to another."""
        live = self.live(n)
        self.work.update(live, self.work.replaced(n, turn - 1))
        return partial(self.work.update, live, self.work.replaced(n, turn))


class Range(_Edited):
    """Other layers' attention of the prompt that is shown."""

    key = "range"

    def prepared(self, n: int, turn: int) -> Callable[[], Any]:
        """From the last eight layers to eight others."""
        live, ids = self.live(n), self.work.appended(n, turn)
        self.work.update(live, ids)
        return partial(self.work.update_elsewhere, live, ids)


#: Row -> how to make its contestant.
HERE: dict[str, Callable[[Workload], Contestant]] = {
    "forward": Forward,
    "cached": Cached,
    "gemm_cold": partial(Product, appended=False),
    "gemm_append": partial(Product, appended=True),
    "naive": Naive,
    "cold": Cold,
    "append": Append,
    "explorer": partial(InExplorer, hides_all=False),
    "hidden": partial(InExplorer, hides_all=True),
    "middle": Middle,
    "range": Range,
}
