"""Scripts that DejaVu lacks: which words of an SVG file want another font, for programs that read no list of fonts."""

from __future__ import annotations

import re

_CJK_FONTS = (
    "'Noto Sans CJK JP', 'Noto Sans CJK SC', 'Noto Sans CJK TC', 'Noto Sans CJK KR', 'Source Han Sans', "
    "'WenQuanYi Zen Hei', 'Hiragino Sans', 'PingFang SC', 'Apple SD Gothic Neo', 'Microsoft YaHei', 'Malgun Gothic', "
    "'Yu Gothic', 'Droid Sans Fallback', 'DejaVu Sans'"
)
_EMOJI_FONTS = "'Noto Color Emoji', 'Apple Color Emoji', 'Segoe UI Emoji', 'Noto Emoji', 'DejaVu Sans'"
# Of these a font makes one sign out of several: where two fonts disagree on that in one line, resvg breaks down.
_JOINED = re.compile(
    "[\u0300-\u036f\u1100-\u11ff\u200d\u20d0-\u20ff\u302a-\u302f\u3099\u309a\ua960-\ua97f\ud7b0-\ud7ff\ufe00-\ufe0f"
    "\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff\U000e0000-\U000effff]"
)
_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff01-\uffdc\U00020000-\U0003ffff]"
)
# Those of the older blocks that are coloured of themselves; DejaVu has ✓ and its like.
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u231a\u231b\u23e9-\u23ec\u23f0\u23f3\u2614\u2615\u2648-\u2653\u267f\u2693\u26a1\u26bd\u26be\u26c4\u26c5\u26ce"
    "\u26d4\u26ea\u26f2\u26f3\u26f5\u26fa\u26fd\u2705\u270a\u270b\u2728\u274c\u274e\u2753-\u2755\u2757\u2795-\u2797\u2b1b\u2b1c\u2b50\u2b55]+"
)
_TEXT = re.compile(r"(<(?:text|tspan)\b[^>]*>)([^<]+)")


def with_fonts(svg: str) -> str:
    """An SVG file whose lines with CJK and whose emoji name their fonts first.

    Of a list of fonts resvg and typst take the first that is installed; what that one lacks they look for in any font,
    and draw the whole line in it where they can: `␣世` would be set in a serif, and bold emoji would be missing.
    """
    return svg if svg.isascii() else _TEXT.sub(lambda found: found[1] + _marked(found[2]), svg)


def _marked(words: str) -> str:
    made = words if _JOINED.search(words) else _EMOJI.sub(lambda found: _in_fonts(_EMOJI_FONTS, found[0]), words)
    # The whole line: CJK fonts have Latin letters, too, and are less wide than DejaVu.
    return _in_fonts(_CJK_FONTS, made) if _CJK.search(words) else made


def _in_fonts(fonts: str, words: str) -> str:
    return f'<tspan font-family="{fonts}">{words}</tspan>'
