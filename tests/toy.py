"""Hand-written models with nonsense names and unusual habits: what is found, is found by structure."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

D_MODEL = 20
D_VOCAB = 31


class Look(nn.Module):
    """Attention with two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.three = nn.Linear(D_MODEL, 3 * D_MODEL)
        self.out = nn.Linear(D_MODEL, D_MODEL)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.three(x).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Think(nn.Sequential):
    """An FFN that is a plain sequence."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(D_MODEL, 27), nn.GELU(), nn.Linear(27, D_MODEL))


class Shift(nn.Module):
    """Mixes positions without attention: each sees the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Linear(D_MODEL, D_MODEL)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w(torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1))


class Floor(nn.Module):
    """A layer. `habit` says how it treats its stream."""

    def __init__(self, habit: str = "") -> None:
        super().__init__()
        self.habit = habit
        self.a, self.b = nn.LayerNorm(D_MODEL), nn.LayerNorm(D_MODEL)
        self.p = Shift() if habit == "shift" else Look()
        self.q = Think()
        self.gain = nn.Parameter(torch.rand(D_MODEL) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.habit == "in place":
            x += self.p(self.a(x))
            return x.add_(self.q(self.b(x)))
        if self.habit == "gain":
            x = x + self.p(self.a(x)) * self.gain
            return torch.add(x, self.q(self.b(x)), alpha=0.5)
        if self.habit == "raw":
            x = x + self.p(self.a(x)).tanh()
            return x + self.q(self.b(x))
        if self.habit == "decay":
            x = 0.9 * x + self.p(self.a(x))
            return x + self.q(self.b(x))
        if self.habit == "rebuilt":
            return self.q(self.p(self.a(x)))
        if self.habit == "twice":
            x = x + (self.p(self.a(x)) + x)
            return x + self.q(self.b(x))
        x = x + self.p(self.a(x))
        return x + self.q(self.b(x))


class Toy(nn.Module):
    """Embedding, floors, norm, head."""

    def __init__(self, n_floors: int = 3, habit: str = "", noise: bool = False) -> None:
        super().__init__()
        self.book = nn.Embedding(D_VOCAB, D_MODEL)
        self.house = nn.ModuleList(Floor(habit) for _ in range(n_floors))
        self.roof = nn.LayerNorm(D_MODEL)
        self.sky = nn.Linear(D_MODEL, D_VOCAB)
        self.noise = noise
        self.draw()

    def draw(self) -> None:
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape) * (0.3 if weight.dim() > 1 else 1.0))

    def floors(self) -> Iterable[nn.Module]:
        return self.house

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.book(input_ids)
        for floor in self.floors():
            x = floor(x)
        logits = self.sky(self.roof(x))
        return {"logits": logits + torch.rand_like(logits) if self.noise else logits}


class Looped(Toy):
    """One floor, climbed three times, as an attribute."""

    def __init__(self) -> None:
        super().__init__(0)
        self.only = Floor()

    def floors(self) -> Iterable[nn.Module]:
        return [self.only] * 3


class Braid(Toy):
    """No module is a layer: strands of several colours are taken in turn, and between rounds something happens."""

    def __init__(self, n_rounds: int = 3, habit: str = "") -> None:
        super().__init__(0)
        self.rounds, self.habit = n_rounds, habit
        self.red = nn.ModuleList(Shift() if habit == "shift" else Look() for _ in range(n_rounds))
        self.green = nn.ModuleList(nn.LayerNorm(D_MODEL) for _ in range(n_rounds))
        self.blue = nn.ModuleList(Think() for _ in range(n_rounds))
        self.grey = nn.ModuleList(nn.LayerNorm(D_MODEL) for _ in range(n_rounds))
        self.dust = nn.Dropout(0.1)
        self.draw()

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.book(input_ids)
        for turn in range(self.rounds):
            if self.habit == "outside":
                x = x + self.dust(self.red[turn](self.green[turn](x)))
                x = x + self.blue[turn](self.grey[turn](x))
                continue
            x = self.green[turn](x + self.dust(self.red[turn](x)))
            x = self.grey[turn](x + self.blue[turn](x))
            x *= torch.ones_like(input_ids).unsqueeze(-1)
        return {"logits": self.sky(x)}


class Turned(nn.Sequential):
    """Something for streams whose positions come last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.mT).mT


class Slab(nn.Module):
    """A layer of a stream whose positions come last."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.a = Turned(Look()), Turned(nn.LayerNorm(D_MODEL))
        self.q = nn.Sequential(nn.Conv1d(D_MODEL, 27, 1), nn.GELU(), nn.Conv1d(27, D_MODEL, 1))
        self.b = Turned(nn.LayerNorm(D_MODEL))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x + self.p(x))
        return self.b(x + self.q(x))


class Sideways(Toy):
    """Positions come last, and layers are run by a way on which no hook lies."""

    def __init__(self) -> None:
        super().__init__(0)
        self.slabs = nn.ModuleList(Slab() for _ in range(3))
        self.draw()

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.book(input_ids).mT
        for slab in self.slabs:
            x = slab.forward(x)
        return {"logits": self.sky(x.mT)}


class Fringe(Toy):
    """Rows that are no positions, before the prompt's or after."""

    def __init__(self, before: bool) -> None:
        super().__init__()
        self.before = before
        self.rag = nn.Parameter(torch.randn(4, D_MODEL))

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        x, rag = self.book(input_ids), self.rag.expand(len(input_ids), -1, -1)
        x = torch.cat([rag, x] if self.before else [x, rag], 1)
        for floor in self.house:
            x = floor(x)
        return {"logits": self.sky(self.roof(x[:, 4:] if self.before else x[:, :-4]))}


class Flat(nn.Module):
    """No layers at all."""

    def __init__(self) -> None:
        super().__init__()
        self.book = nn.Embedding(D_VOCAB, D_MODEL)
        self.sky = nn.Linear(D_MODEL, D_VOCAB)

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.sky(self.book(input_ids))}


def toy(**options: object) -> Toy:
    """A toy with reproducible weights, in evaluation mode."""
    torch.manual_seed(0)
    return Toy(**options).eval()  # type: ignore[arg-type]
