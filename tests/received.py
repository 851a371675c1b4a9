"""What a browser has once it has put together what a view sent."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerwidget.widgets.messages import Message, packed_message, unpacked_message


def whole(held: Message | None, sent: Message) -> Message:
    """A message as it would be without the one before it; for the browser, `js/store.js` does this."""
    content, buffers = sent
    if "base" not in content:
        return sent
    assert held is not None
    assert content["base"] == held[0]["revision"]
    kept, before = content["kept"], held[0]["meta"]
    meta = {
        name: [*before[name][: kept.get(name, 0)], *one] if name in kept else one
        for name, one in content["meta"].items()
    }
    return packed_message(
        content["type"], content["revision"], meta, _arrays(content, buffers, unpacked_message(*held))
    )


def _arrays(content: dict[str, Any], buffers: list[bytes], before: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = {}
    for spec, buffer in zip(content["arrays"], buffers, strict=True):
        name, shape = spec["name"], list(spec["shape"])
        if "kept" not in spec:
            found[name] = np.frombuffer(buffer, spec["dtype"]).reshape(shape)
            continue
        axis = spec["axis"]
        rest = np.frombuffer(buffer, spec["dtype"]).reshape(
            [*shape[:axis], shape[axis] - spec["kept"], *shape[axis + 1 :]]
        )
        found[name] = np.concatenate([before[name].take(range(spec["kept"]), axis), rest], axis)
        assert list(found[name].shape) == shape
    return found
