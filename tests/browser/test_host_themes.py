"""The style sheet on pages with the marks by which each host says which theme it has; there is no host."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from layerwidget.widgets.esm import module_text, style_text

#: What VS Code and Colab put around an output. Their bundles of ipywidgets bring JupyterLab's light colours along.
LAB_WHITE = (
    "<style>:root { --jp-layout-color0: white; --jp-ui-font-color0: black; --jp-ui-font-color1: black; }</style>"
)
VS_CODE = "<style>html { --vscode-editor-background: %s; --vscode-editor-foreground: %s; }</style>"
VS_CODE_DARK = LAB_WHITE + VS_CODE % ("#1f1f1f", "#cccccc")
VS_CODE_LIGHT = LAB_WHITE + VS_CODE % ("#fafafa", "#3b3b3b")
COLAB_DARK = (
    "<style>html[theme=dark] { --colab-primary-surface-color: #383838; --colab-primary-text-color: #e3e3e3; }</style>"
)
COLAB_LIGHT = LAB_WHITE + '<div id="output-area"></div>'
LAB_DARK = "<style>body { --jp-layout-color0: #111; --jp-ui-font-color0: #fff; --jp-ui-font-color1: #fff; }</style>"
LAB = 'data-jp-theme-light="{}"'
MUTED = {"light": "rgb(97, 107, 125)", "dark": "rgb(152, 162, 181)"}
CONTRAST = {"light": "rgb(51, 55, 63)", "dark": "rgb(213, 218, 227)"}


def _vs_code(kind: str, *also: str) -> str:
    """What VS Code says of its theme: a class, for high contrast two, and the kind."""
    classes = " ".join(f"vscode-{name}" for name in (kind, *also))
    return f'class="{classes}" data-vscode-theme-kind="vscode-{kind}"'


#: Host: attributes of html and body, what else the page has, what the reader's system has -> ground, and small words.
HOSTS = {
    "plain": ("", "", "", "light", "rgb(255, 255, 255)", MUTED["light"]),
    "plain, dark system": ("", "", "", "dark", "rgb(18, 18, 18)", MUTED["dark"]),
    "JupyterLab light, dark system": ("", LAB.format("true"), LAB_WHITE, "dark", "rgb(255, 255, 255)", MUTED["light"]),
    "JupyterLab dark": ("", LAB.format("false"), LAB_DARK, "light", "rgb(17, 17, 17)", MUTED["dark"]),
    "VS Code dark": ("", _vs_code("dark"), VS_CODE_DARK, "light", "rgb(31, 31, 31)", MUTED["dark"]),
    "VS Code light, dark system": ("", _vs_code("light"), VS_CODE_LIGHT, "dark", "rgb(250, 250, 250)", MUTED["light"]),
    "VS Code high contrast": (
        "", _vs_code("high-contrast"), VS_CODE_DARK, "light", "rgb(31, 31, 31)", CONTRAST["dark"],
    ),
    "VS Code high contrast light": (
        "", _vs_code("high-contrast-light", "high-contrast"), VS_CODE_LIGHT, "dark", "rgb(250, 250, 250)",
        CONTRAST["light"],
    ),
    "Colab dark": ('theme="dark"', "", LAB_WHITE + COLAB_DARK, "light", "rgb(56, 56, 56)", MUTED["dark"]),
    "Colab light, dark system": ("", "", COLAB_LIGHT, "dark", "rgb(255, 255, 255)", MUTED["light"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


def put(page: Page, host: str, inside: str) -> None:
    html, body, more, system, _ground, _muted = HOSTS[host]
    page.emulate_media(color_scheme=system)  # type: ignore[arg-type]
    page.set_content(
        f"<!doctype html><html {html}><body {body}>{more}<style>{style_text()}</style>{inside}</body></html>"
    )


def colour(page: Page, selector: str, name: str) -> str:
    found: str = page.locator(selector).evaluate(f"node => getComputedStyle(node).{name}")
    return found


def lightness(text: str) -> float:
    return sum(float(number) for number in re.findall(r"[\d.]+", text)[:3]) / 3


@pytest.mark.parametrize("host", HOSTS)
def test_a_view_has_the_grounds_and_words_of_its_host(page: Page, host: str) -> None:
    ground, muted = HOSTS[host][4:]
    put(page, host, '<div class="lw"><span class="lw-detail">words</span></div>')
    assert [colour(page, ".lw", "backgroundColor"), colour(page, ".lw-detail", "color")] == [ground, muted]
    # Dark on light, or light on dark; the colours of a system's own controls go with it.
    dark = lightness(ground) < 128
    assert (lightness(colour(page, ".lw", "color")) > 128) == dark
    assert (colour(page, ".lw", "colorScheme") == "dark") == dark


@pytest.mark.parametrize("host", ["VS Code dark", "Colab dark", "plain, dark system"])
def test_widgets_of_others_inside_an_explorer_go_by_the_same_colours(page: Page, host: str) -> None:
    put(
        page,
        host,
        '<div class="lw-explorer"><div class="lw-figure"><svg><text>0.5</text></svg></div><div class="lw"></div></div>',
    )
    ground = HOSTS[host][4]
    assert [colour(page, part, "backgroundColor") for part in (".lw-explorer", ".lw")] == [ground, ground]
    assert lightness(colour(page, "text", "fill")) > 128


@pytest.mark.parametrize("host", ["VS Code dark", "JupyterLab dark", "Colab dark", "plain, dark system"])
def test_a_paper_stays_white_in_every_dark_host(page: Page, host: str) -> None:
    put(
        page,
        host,
        '<div class="lw-explorer lw-paper"><div class="lw"></div><div class="lw-figure"><svg><text/></svg></div></div>',
    )
    assert [colour(page, part, "backgroundColor") for part in (".lw-explorer", ".lw")] == ["rgb(255, 255, 255)"] * 2
    assert [colour(page, part, "colorScheme") for part in (".lw-explorer", ".lw")] == ["light", "light"]
    assert lightness(colour(page, "text", "fill")) < 60


WATCH = """([source, mark]) => new Promise((resolve) => {
    const watchLook = new Function(`${source}; return watchLook;`)();
    const host = document.body.appendChild(document.createElement("div"));
    const around = host.attachShadow({ mode: "open" }).appendChild(document.createElement("div"));
    const node = around.appendChild(document.createElement("div"));
    let heard = 0;
    const stop = watchLook(node, () => { heard += 1; });
    setTimeout(() => {
        heard = 0;
        const [where, name, value] = mark;
        ({ html: document.documentElement, body: document.body, around })[where].setAttribute(name, value);
        setTimeout(() => { stop(); resolve(heard); }, 30);
    }, 60);
})"""


@pytest.mark.parametrize(
    "mark",
    [
        ("body", "data-jp-theme-light", "false"),
        ("body", "data-vscode-theme-kind", "vscode-dark"),
        ("html", "theme", "dark"),
        ("html", "class", "dark"),
        ("around", "class", "contents dark"),  # marimo, in the shadow that a widget has there
    ],
)
def test_views_hear_of_a_change_of_theme(page: Page, mark: tuple[str, str, str]) -> None:
    put(page, "plain", "")
    assert page.evaluate(WATCH, [module_text("dom"), list(mark)]) == 1
    assert page.evaluate(WATCH, [module_text("dom"), ["body", "data-other", "x"]]) == 0


WATCH_PIXELS = """(source) => {
    const watchLook = new Function(`${source}; return watchLook;`)();
    const node = document.body.appendChild(document.createElement("div"));
    node.style.width = node.style.height = "100px";
    watchLook(node, () => { window.heard += 1; });
}"""


def test_views_hear_of_other_pixels(page: Page) -> None:
    """As the browser's zoom does it; the size of the view in px of the page stays."""
    put(page, "plain", "")
    page.evaluate(WATCH_PIXELS, module_text("dom"))
    session, size = page.context.new_cdp_session(page), page.viewport_size
    assert size is not None
    for ratio in (2, 1.25, 1):
        page.evaluate("() => new Promise((resolve) => setTimeout(() => { window.heard = 0; resolve(); }, 60))")
        zoomed = {name: round(length / ratio) for name, length in size.items()}
        session.send("Emulation.setDeviceMetricsOverride", {**zoomed, "deviceScaleFactor": ratio, "mobile": False})
        page.wait_for_function("window.heard > 0", timeout=10_000)
        assert page.evaluate("devicePixelRatio") == ratio
    session.detach()
