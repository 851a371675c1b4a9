"""One ES module per widget, put together at import: a module that runs from a blob URL cannot import its neighbours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_HOME = Path(__file__).parent / "js"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
_IMPORT_NAMES = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class) )", re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:async )?(?:function|const|let|class) (\w+)", re.MULTILINE)
#: On lines of their own: what a notebook holds with every view has no use for them.
_COMMENTS = re.compile(r"^ *(?://[^\n]*|/\*(?:(?!\*/).)*\*/)\n", re.MULTILINE | re.DOTALL)
_DEFAULT = re.compile(r"^export default ", re.MULTILINE)


@cache
def module_text(name: str) -> str:
    """The module `js/<name>.js` with everything that it imports in front of it; top-level names are unique."""
    sources = (_COMMENTS.sub("", source_text(one)) for one in _in_order(name, seen=set()))
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", source)) for source in sources)


@cache
def panel_text(name: str) -> str:
    """The module `js/<name>.js` for a notebook, where it waits for the style sheet that it shares."""
    styled = _EXPORT.sub("", _COMMENTS.sub("", source_text("styled")))
    return f"{_DEFAULT.sub('const panelView = ', module_text(name))}\n{styled}\nexport default styled(panelView);\n"


def registry_text(names: Iterable[str], registry: str) -> str:
    """Several modules and all that they import, for a page that has them in one script, each once.

    Each runs in a function of its own, in which names of other modules mean nothing. What module `x` exports is
    `<registry>.x`; its default export is `<registry>.x.default`.
    """
    seen: set[str] = set()
    texts = [f"const {registry} = {{}};"]
    for name in names:
        if name not in seen:
            texts += [wrapped(one, source_text(one), registry) for one in _in_order(name, seen)]
    return "\n".join(texts)


def wrapped(name: str, source: str, registry: str) -> str:
    """A module as an entry of a registry that has what it imports.

    Raises:
        ValueError: when it imports anything but names from its neighbours.
    """
    body = _IMPORT_NAMES.sub(rf"const {{\1}} = {registry}.\2;\n", source)
    if re.search(r"^import\b", body, re.MULTILINE):
        raise ValueError(f'Module {name!r}: expected only imports such as `import {{ a }} from "./b.js";`.')
    exported = _EXPORTED.findall(body)
    body = _DEFAULT.sub("const defaultExport = ", _EXPORT.sub("", body))
    given = ", ".join([*exported, *(["default: defaultExport"] if "const defaultExport = " in body else [])])
    return f'{registry}["{name}"] = (() => {{\n{body}\nreturn {{ {given} }};\n}})();'


@cache
def style_text() -> str:
    """The style sheet that all views share."""
    return re.sub(r" */\*.*?\*/", "", (_HOME / "style.css").read_text(encoding="utf-8"), flags=re.DOTALL)


def source_text(name: str) -> str:
    """The module `js/<name>.js` as it stands there."""
    return (_HOME / f"{name}.js").read_text(encoding="utf-8")


def _in_order(name: str, seen: set[str]) -> list[str]:
    """What a module imports, and then the module; without what was seen before."""
    seen.add(name)
    needed = _IMPORT.findall(source_text(name))
    return [*(other for one in needed if one not in seen for other in _in_order(one, seen)), name]
