"""What the reader of a comparison chooses: drop-downs, switches and check boxes, each there where it is of use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets as t

from layerwidget.questions.lens import decodable
from layerwidget.widgets.attention_page import VALUE_WEIGHTED, WEIGHTS
from layerwidget.widgets.layer_effects import LONGEST_BLOCK

if TYPE_CHECKING:
    from layerwidget.model.anatomy import Anatomy

#: What the grid is about -> what the drop-down says.
SUBJECTS = {
    "lens": "Lens and stream", "tuned": "Tuned lens", "attribution": "Attribution", "neurons": "Neurons",
    "layers": "What layers turn", "skip": "Skip effect",
}  # fmt: skip
#: Besides the weights of heads: attention through all layers in view.
ROLLOUT = "rollout"


class CompareControls:
    """The choices of the page of comparisons.

    Attributes:
        subject, of, divergence, blocks: what the grid is about; of the lens, what it decodes and whether the
            Jensen-Shannon divergence is wanted; how long blocks of layers are.
        by, hiding: what the heads are compared by, and whether the first token is left out of their matrices.
        slider: the choice of the model where there are several.
    """

    def __init__(self, anatomy: Anatomy, model_name: str) -> None:
        self.subject = _drop_down("compare", [(said, name) for name, said in SUBJECTS.items()], "204px")
        self.components = decodable(anatomy)
        self.of = _drop_down("of", self.components, "150px", value="resid_post")
        sizes = range(1, min(LONGEST_BLOCK, anatomy.n_layers) + 1)
        self.blocks = _drop_down("blocks of", [(f"{n} layer{'s' if n > 1 else ''}", n) for n in sizes], "160px")
        self.divergence = _check_box("with JSD", "Jensen-Shannon divergence from the final prediction: it takes longer")
        self.by = ipywidgets.ToggleButtons(
            options=[WEIGHTS, VALUE_WEIGHTED, ROLLOUT], style={"button_width": "auto"},
            layout=ipywidgets.Layout(width="auto", flex="0 0 auto"),
        )  # fmt: skip
        rest = "the rest of each row of weights is scaled to sum to 1"
        self.hiding = _check_box("hide first token", f"In the matrices of the chosen head: {rest}")
        self.slider = ipywidgets.SelectionSlider(
            options=[model_name], description="B", continuous_update=False,
            style={"description_width": "20px"}, layout=ipywidgets.Layout(flex="0 0 auto", width="260px"),
        )  # fmt: skip
        self._offered: Mapping[str, tuple[ipywidgets.Widget, ...]] = {
            "lens": (self.of, self.divergence), "tuned": (self.divergence,), "layers": (self.blocks,),
        }  # fmt: skip

    def follow(self, page: t.HasTraits) -> None:
        """Choose for a page: its traits `about`, `component`, `jsd`, `n` and `quantity`."""
        choices = {
            "about": self.subject, "component": self.of, "jsd": self.divergence, "n": self.blocks, "quantity": self.by,
        }  # fmt: skip
        for name, widget in choices.items():
            t.link((widget, "value"), (page, name))
        page.observe(self._offer, "about")
        page.observe(self._offer_hiding, "quantity")
        self._offer({"new": self.subject.value})

    def _offer(self, change: Mapping[str, Any]) -> None:
        """There is what the grid's subject has a use for."""
        for widget in (self.of, self.divergence, self.blocks):
            widget.layout.display = None if widget in self._offered.get(change["new"], ()) else "none"

    def _offer_hiding(self, change: Mapping[str, Any]) -> None:
        # A rollout leaves it out by itself, where it is a sink.
        self.hiding.layout.display = "none" if change["new"] == ROLLOUT else None


def _drop_down(said: str, options: Any, width: str, **value: Any) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(
        options=options, description=said, style={"description_width": "auto"},
        layout=ipywidgets.Layout(width=width, flex="0 0 auto"), **value,
    )  # fmt: skip


def _check_box(said: str, tooltip: str) -> ipywidgets.Checkbox:
    return ipywidgets.Checkbox(
        description=said, tooltip=tooltip, indent=False,
        layout=ipywidgets.Layout(width="auto", flex="0 0 auto", margin="0 12px 0 6px"),
    )  # fmt: skip
