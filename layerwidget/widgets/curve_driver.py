"""The title line of a figure over layers, which moves its marks in the browser."""

from __future__ import annotations

from typing import ClassVar

import traitlets as t

from layerwidget.widgets.base import View


class CurveDriver(View, module="curve_driver"):
    """The title line, and the part that moves the marks in the browser while a range is dragged."""

    heeds: ClassVar[tuple[str, ...]] = ("layers", "layer")

    title = t.Unicode("Over layers").tag(sync=True)
    band = t.Unicode().tag(sync=True)
    cursor = t.Unicode().tag(sync=True)
    point = t.Unicode().tag(sync=True)
    drawn = t.Bool(False).tag(sync=True)
    detail = t.Unicode().tag(sync=True)
    prompt = t.Unicode(None, allow_none=True).tag(sync=True)
    target = t.Unicode(None, allow_none=True).tag(sync=True)
    # Most readers see the curves: their table is written and sent once a browser has asked for it.
    told = t.Bool(False).tag(sync=True)
    table = t.Dict().tag(sync=True)
