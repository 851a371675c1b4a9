"""One ES module per widget, put together at import: a module that runs from a blob URL cannot import its neighbours."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_HOME = Path(__file__).parent / "js"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class) )", re.MULTILINE)


@cache
def module_text(name: str) -> str:
    """The module `js/<name>.js` with everything that it imports in front of it; top-level names are unique."""
    return "\n".join(_texts(name, seen=set()))


@cache
def style_text() -> str:
    """The style sheet that all views share."""
    return (_HOME / "style.css").read_text(encoding="utf-8")


def _texts(name: str, seen: set[str]) -> list[str]:
    seen.add(name)
    source = (_HOME / f"{name}.js").read_text(encoding="utf-8")
    texts: list[str] = []
    for needed in _IMPORT.findall(source):
        if needed not in seen:
            texts += _texts(needed, seen)
    return [*texts, _EXPORT.sub("", _IMPORT.sub("", source))]
