"""The scene bar: title and caption of a prepared step, and the keys that lead from one to the next."""

from __future__ import annotations

from typing import ClassVar

import traitlets as t

from layerwidget.widgets.base import View


class SceneBar(View, module="scene_bar"):
    """Title and caption of a scene, which of how many it is, and two buttons; nothing is drawn without scenes.

    Anywhere in the explorer, Page down and Page up go to the next scene and back, as a presenter's remote does; so do
    Alt with the right and the left arrow, outside text. Alt with the up and down arrow chooses the next layer in view.

    Attributes:
        words: title and caption of every scene.
        scene: the number of the one that is shown, from 0; None where none is. Buttons and keys set it.
    """

    heeds: ClassVar[tuple[str, ...]] = ("layers", "layer")

    words = t.List(t.Tuple(t.Unicode(), t.Unicode())).tag(sync=True)
    scene = t.Int(None, allow_none=True).tag(sync=True)
