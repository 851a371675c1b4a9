"""The tuned lens beside the logit lens: training, what it changes, and how far to trust either."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import traitlets as t

from layerwidget.errors import LayerWidgetError
from layerwidget.questions import TraceQuestion
from layerwidget.questions.lens import LensGrid, LogitLens
from layerwidget.questions.translators import Translators
from layerwidget.questions.tuned_lens import TunedLens
from layerwidget.questions.tuned_lens_training import TrainTunedLens, TunedLensTraining
from layerwidget.widgets.logit_lens_view import TYPE_A_PROMPT, LogitLensView
from layerwidget.widgets.page import Page, Request, Standpoint
from layerwidget.widgets.request_bar import RequestBar
from layerwidget.widgets.traits import SelectionTraits
from layerwidget.widgets.translator_folder import TranslatorFolder
from layerwidget.widgets.tuned_curves import HeldOutCurves, TrustCurves

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

_WORDS_PER_CELL = 5
_UNTRAINED = (
    "The tuned lens has to be trained first (“Train”), on a text of yours or on the prompt; or its translators are "
    "loaded from a folder."
)
#: The class of both lenses before that: where nothing is drawn of it, it is a line of words under the other one.
_UNTRAINED_CLASS = "lw-untrained"
_TEXT = "A text to train on, a few thousand tokens of the kind that the lens is for. Left empty, it is the prompt."
_WORDS = (
    "<p>The logit lens reads every layer as if it were the last one. Early layers do not speak that language: where KL "
    "to final is many nats, its words say more about the lens than about the model.</p>"
    "<p>A tuned lens (Belrose et al. 2023) has a translator for every layer: an affine map of what enters the layer, "
    "trained on the model's own predictions so that the final norm and head can read it. A part of the text is held "
    "out, and shows here whether it is worth its name.</p>"
    "<p>In Python: <code>page = ex.page('tuned')</code>, <code>lw.save_translators(page.translators, folder)</code>, "
    "<code>page.translators = lw.load_translators(folder)</code>.</p>"
)


class TunedPage(Page):
    """The tuned lens beside the logit lens on the same streams, with the same selection; training under them.

    Attributes:
        translators: what the tuned lens is made of; None before it is trained. Assign what `load_translators` read, and
            keep what was trained with `save_translators`.
        training: the last training, where `translators` come from it; else None.
        text: what they are trained on; the prompt where it is blank.
        epochs, max_positions: of the training, as `TrainTunedLens` says.
        tuned_view, plain_view: the two lenses.
        trust, held_out: the curves under them.
        bar: the button that trains.
        folder: the path and the buttons that load and save translators.
    """

    page_name = "tuned"
    page_title = "Tuned lens"
    choices: ClassVar[Mapping[str, str]] = {
        "colour": "tuned_view.colour",
        "quantity": "trust.quantity",
        "text": "text",
        "epochs": "epochs",
        "max_positions": "max_positions",
    }
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "resid_pre_lens": (LensGrid,),
        "tuned_lens": (LensGrid,),
        "training": (TunedLensTraining,),
    }

    translators = t.Instance(Translators, allow_none=True)
    training = t.Instance(TunedLensTraining, allow_none=True)
    text = t.Unicode()
    epochs = t.Int(3, min=1)
    max_positions = t.Int(2048, min=2)

    def __init__(self, model: HookedModel | None = None, **shared: Any) -> None:
        self._anatomy = None if model is None else model.anatomy
        self._shown: dict[str, LensGrid | None] = {}
        self.tuned_view = LogitLensView(
            title="Tuned lens", component="tuned resid_pre", panel="below", empty=_UNTRAINED, **shared
        )
        self.plain_view = LogitLensView(component="resid_pre", panel="below", **shared)
        # One scale for both, or they could not be compared.
        t.link((self.plain_view, "colour"), (self.tuned_view, "colour"))
        self.trust, self.held_out = TrustCurves(**shared), HeldOutCurves(**shared)
        self.trust.talk_size = self.held_out.talk_size = (300, 184)
        # Its axes stand as low as those beside it, which have buttons above them.
        self.held_out.figure.layout.margin = "30px 0 0"
        self.bar = RequestBar(label="Train", layout=ipywidgets.Layout(width="100%", margin="4px 0 0"))
        super().__init__(self._beside(), *self._below())
        self.requests = (Request(self.bar, self._question, self._trained, of_prompt=False),)
        self.observe(self._reask, ["text", "epochs", "max_positions"])
        self.observe(self._describe, ["translators", "training"])
        self._describe(None)

    @classmethod
    def for_model(cls, model: HookedModel, **shared: Any) -> TunedPage:
        """A page that takes translators of this model only."""
        return cls(model, **shared)

    def close(self) -> None:
        """Remove the page, with what of it is not shown at the moment."""
        for part in (self.held_out, self._words):
            part.close()
        super().close()

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """Those that take part in the selection."""
        return self.tuned_view, self.plain_view, self.trust.driver, self.held_out.driver

    @t.validate("translators")
    def _fitting(self, proposal: dict[str, Any]) -> Translators | None:
        translators: Translators | None = proposal["value"]
        if translators is not None and self._anatomy is not None:
            translators.check_fits(self._anatomy.n_layers, self._anatomy.d_model, self._anatomy.name)
        return translators

    # What it is made of

    def _beside(self) -> ipywidgets.HBox:
        row = ipywidgets.HBox([self.tuned_view, self.plain_view])
        row.layout = ipywidgets.Layout(align_items="flex-start", width="100%", min_width="0", flex="1 1 auto")
        row.add_class("lw-pair")
        return row

    def _below(self) -> tuple[ipywidgets.Widget, ...]:
        text = ipywidgets.Textarea(
            placeholder=_TEXT, layout=ipywidgets.Layout(width="100%", height="54px", margin="10px 0 0")
        )
        t.link((self, "text"), (text, "value"))
        self._text_area = text
        self.about = ipywidgets.Label(layout=ipywidgets.Layout(width="100%", margin="0"))
        self.about.add_class("lw-note")
        self._words = ipywidgets.HTML(_WORDS, layout=ipywidgets.Layout(width="100%", margin="28px 0 0"))
        self._words.add_class("lw-words-about")
        half = ipywidgets.Layout(width="50%", min_width="0")
        self._side = ipywidgets.VBox(layout=half)
        row = ipywidgets.HBox([ipywidgets.VBox([self.trust], layout=half), self._side])
        row.layout = ipywidgets.Layout(align_items="flex-start", width="100%")
        row.add_class("lw-side")
        self.folder = TranslatorFolder(self)
        return text, self.bar, self.about, self.folder, row

    def _describe(self, _change: object) -> None:
        """Say what is there: no translators, some that were loaded, or trained ones and how good they are."""
        training, translators = self.training, self.translators
        if training is not None and training.translators is not translators:
            self.training = training = None
        self.held_out.show(training)
        # Not hidden but absent: bqplot cannot draw where there is no room.
        self._side.children = (self.held_out if training else self._words,)
        self.about.value = _about(translators, training)
        self.about.layout.display = None if self.about.value else "none"
        self.tuned_view.empty = _UNTRAINED if translators is None else TYPE_A_PROMPT
        mark = self.beside.add_class if translators is None else self.beside.remove_class
        mark(_UNTRAINED_CLASS)
        if translators is None and self._shown.get("tuned_lens"):
            self._draw("tuned_lens", None, self.trust.driver.prompt)

    @property
    def places(self) -> Mapping[str, tuple[ipywidgets.Widget, ...]]:
        """Both lenses, their curves, and those of the training."""
        return {
            "resid_pre_lens": (self.plain_view, self.trust),
            "tuned_lens": (self.tuned_view, self.trust),
            "training": (self._side,),
        }

    def stand_alone(self, names: Collection[str]) -> None:
        """Without the text to train on, and the folder."""
        super().stand_alone(names)
        self._text_area.layout.display = self.folder.layout.display = "none"

    # What it asks

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        """Both lenses on what enters each layer; only the logit lens before there are translators."""
        jsd = self.plain_view.colour == "jsd"
        plain = LogitLens(component="resid_pre", k=_WORDS_PER_CELL, tokens=standpoint.pinned, jsd=jsd)
        if self.translators is None:
            return {"resid_pre_lens": plain}
        tuned = TunedLens(self.translators, k=_WORDS_PER_CELL, tokens=standpoint.pinned, jsd=jsd)
        return {"resid_pre_lens": plain, "tuned_lens": tuned}

    def _question(self, standpoint: Standpoint) -> TrainTunedLens:
        text = self.text if self.text.strip() else standpoint.tokens.text or ""
        return TrainTunedLens(text, epochs=self.epochs, max_positions=self.max_positions)

    def _reask(self, _change: object) -> None:
        self.rephrased += 1

    def _trained(self, training: TunedLensTraining, _prompt: str | None) -> None:
        with self.hold_trait_notifications():
            self.translators, self.training = training.translators, training

    # What it shows

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw one of the lenses, and the curves with it; or what a training has done."""
        if name == "training":
            self._trained(answer, None)
        else:
            self._draw(name, answer, prompt)

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        """Say why there is no such lens."""
        self._view(name).empty = str(error)
        self._draw(name, None, prompt)

    def clear(self, prompt: str) -> None:
        """Draw nothing."""
        for name in ("resid_pre_lens", "tuned_lens"):
            self._draw(name, None, prompt)

    def _view(self, name: str) -> LogitLensView:
        return self.tuned_view if name == "tuned_lens" else self.plain_view

    def _draw(self, name: str, lens: LensGrid | None, prompt: str | None) -> None:
        self._view(name).show(lens, prompt)
        self._shown[name] = lens
        plain, tuned = self._shown.get("resid_pre_lens"), self._shown.get("tuned_lens")
        # One of the two may still be about the text before.
        if plain is not None and tuned is not None and plain.token_ids.tolist() != tuned.token_ids.tolist():
            plain, tuned = (plain, None) if lens is plain else (None, tuned)
        self.trust.show(plain, tuned, prompt)


def _about(translators: Translators | None, training: TunedLensTraining | None) -> str:
    if translators is None:
        return ""
    if training is None:
        source = translators.model_name or "a model without a name"
        return f"Loaded: translators of {translators.n_layers} layers, trained for {source}."
    before, after = float(training.untrained_kl_nats.mean()), float(training.kl_nats.mean())
    return (
        f"Trained on {training.n_train:,} positions, judged on {training.n_held_out:,} others: mean KL to final over "
        f"all layers {before:.2f} nats before, {after:.2f} after."
    )
