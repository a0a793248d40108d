"""Changes of libraries that draw: where their pictures go, and which fonts they have.

notebook.py loads this script when one is imported.

Standard library only, Python 3.8 and later.
"""

import os
import sys

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

PLOTLY, HTML = "application/vnd.plotly.v1+json", "text/html"
# Fonts for characters that the usual fonts lack. Of each line the first that is installed is used.
FALLBACKS = (
    ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Noto Sans CJK JP", "Noto Sans JP", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
     "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "IPAexGothic", "IPAGothic", "NanumGothic", "Arial Unicode MS", "Unifont"),
    ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "UnDotum"),
    ("Noto Sans Arabic", "Noto Naskh Arabic", "Noto Kufi Arabic", "Amiri", "KacstOne"),
    ("Noto Sans Hebrew", "Noto Serif Hebrew", "Culmus"),
    ("Noto Sans Devanagari", "Noto Serif Devanagari", "Lohit Devanagari"),
    ("Noto Sans Bengali", "Lohit Bengali"),
    ("Noto Sans Tamil", "Lohit Tamil"),
    ("Noto Sans Thai", "Noto Serif Thai", "Loma", "Garuda", "Waree"),
    ("Noto Sans Symbols2", "Noto Sans Symbols 2", "Symbola"),
    ("Noto Emoji", "Symbola", "Unifont"),
)


def patch_plotly(module, results):
    """Let plotly's figures be shown as a notebook shows them."""
    renderers = module.renderers
    if not os.environ.get("PLOTLY_RENDERER"):
        renderers.default = "plotly_mimetype"
    # Otherwise the first figure would include 4 MB of JavaScript.
    renderers["notebook"].connected = True

    def show(fig, renderer=None, validate=True, **more):
        """Show a figure as a result of this execution."""
        figure = module.validate_coerce_fig_to_dict(fig, validate)
        bundle = renderers._build_mime_bundle(figure, renderers_string=renderer, **more)
        if not bundle:  # the renderer opens a window or a browser
            bundle = renderers["plotly_mimetype"].to_mimebundle(figure)
        if set(bundle) == {PLOTLY}:
            from plotly.io import to_html

            bundle = dict(bundle)
            bundle[HTML] = to_html(figure, config=more.get("config"), include_plotlyjs="cdn", full_html=False, validate=False)
        results.show_bundle(bundle)

    module.show = show
    package = sys.modules.get("plotly.io")
    if package is not None and "show" in vars(package):
        package.show = show  # type: ignore[attr-defined]


def patch_fonts(module):
    """Let matplotlib look for characters that a font lacks in other fonts, after all those that the
    code has chosen. matplotlib can do that from 3.6 on."""
    manager = module.FontManager
    find = manager._find_fonts_by_props
    found = {}

    def _find_fonts_by_props(self, prop, *args, **more):
        paths = list(find(self, prop, *args, **more))
        if "fallbacks" not in found:
            found["fallbacks"] = fallbacks(module, self)
        if (more.get("fontext") or (args[0] if args else "ttf")) != "afm":
            paths += [path for path in found["fallbacks"] if path not in paths]
        return paths

    manager._find_fonts_by_props = _find_fonts_by_props


def fallbacks(module, manager):
    """Return the paths of installed fonts for characters that the usual fonts lack."""
    installed = {font.name for font in manager.ttflist}
    families = dict.fromkeys(next((name for name in names if name in installed), None) for names in FALLBACKS)
    return [manager.findfont(module.FontProperties(family=[name]), fallback_to_default=False) for name in families if name is not None]
