"""A stand-in for IPython.display, for code that was written for a notebook, where IPython is not installed.

notebook.py loads it when code imports IPython, and passes display and its helpers.

Standard library only, Python 3.8 and later.
"""

import json
import os

from standin_base import DisplayObject, TextDisplayObject, escape
from standin_links import FileLink, FileLinks, IFrame, ScribdDocument, VimeoVideo, YouTubeVideo
from standin_media import Audio, Image, Video
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

CORE, LIB = "IPython.core.display", "IPython.lib.display"
display = None  # see modules


class Pretty(TextDisplayObject):
    def _repr_pretty_(self, pp, cycle):
        return pp.text(self.data)

    def __repr__(self):
        return str(self.data)


class HTML(TextDisplayObject):
    def _repr_html_(self):
        return self._data_and_metadata()

    def __html__(self):
        return self.data


class Markdown(TextDisplayObject):
    def _repr_markdown_(self):
        return self._data_and_metadata()


class Math(TextDisplayObject):
    def _repr_latex_(self):
        text = "$\\displaystyle %s$" % self.data.strip("$")
        return (text, dict(self.metadata)) if self.metadata else text


class Latex(TextDisplayObject):
    def _repr_latex_(self):
        return self._data_and_metadata()


class SVG(DisplayObject):
    def _check_data(self):
        if self.data is not None:
            text = self.data if isinstance(self.data, str) else self.data.decode()
            start, end = text.find("<svg"), text.rfind("</svg>")
            self.data = text[start:end + 6] if 0 <= start < end else text

    def _repr_svg_(self):
        return self._data_and_metadata()


class ProgressBar(DisplayObject):
    """A bar that shows itself anew with each step."""

    def __init__(self, total):
        self.total, self._progress = total, 0
        self.html_width, self.text_width = "60ex", 60
        self._display_id = os.urandom(8).hex()

    def __repr__(self):
        part = min(1, self._progress / self.total) if self.total else 1
        return "[%s] %s/%s" % (("=" * int(part * self.text_width)).ljust(self.text_width), self._progress, self.total)

    def _repr_html_(self):
        return "<progress style='width:%s' max='%s' value='%s'></progress>" % (self.html_width, self.total, self._progress)

    def display(self):
        display(self, display_id=self._display_id)

    def update(self):
        display(self, display_id=self._display_id, update=True)

    @property
    def progress(self):
        return self._progress

    @progress.setter
    def progress(self, value):
        self._progress = value
        self.update()

    def __iter__(self):
        self.display()
        self._progress = -1  # the first step is not one yet
        return self

    def __next__(self):
        self.progress += 1
        if self.progress < self.total:
            return self.progress
        raise StopIteration


class JSON(DisplayObject):
    def __init__(self, data=None, url=None, filename=None, expanded=False, metadata=None, root="root", **more):
        self.metadata = dict({"expanded": expanded, "root": root}, **dict(metadata or {}, **more))
        super().__init__(data, url, filename)

    def _check_data(self):
        if isinstance(self.data, str):
            self.data = json.loads(self.data)
        if self.data is not None and not isinstance(self.data, (dict, list)):
            raise TypeError("%s expects a dict or list, not %r" % (type(self).__name__, self.data))

    def _repr_json_(self):
        return self._data_and_metadata()


class GeoJSON(JSON):
    def _ipython_display_(self):
        kind = "application/geo+json"
        display({kind: self.data, "text/plain": "<IPython.display.GeoJSON object>"}, metadata={kind: self.metadata}, raw=True)


class Javascript(TextDisplayObject):
    def __init__(self, data=None, url=None, filename=None, lib=None, css=None):
        self.lib, self.css = [[x] if isinstance(x, str) else list(x or ()) for x in (lib, css)]
        super().__init__(data, url, filename)

    def _repr_javascript_(self):
        parts = ["document.head.appendChild(Object.assign(document.createElement('link'), {rel: 'stylesheet', href: %s}));\n"
                 % json.dumps(address) for address in self.css]
        for address in self.lib:
            parts.append("new Promise((done, fail) => { const s = document.createElement('script'); s.onload = done; "
                         "s.onerror = fail; s.src = %s; document.head.appendChild(s); }).then(() => {\n" % json.dumps(address))
        return "".join(parts) + (self.data or "") + "\n});" * len(self.lib)


class Code(TextDisplayObject):
    """Source code, highlighted if there is pygments."""

    def __init__(self, data=None, url=None, filename=None, language=None):
        self.language = language
        super().__init__(data, url, filename)

    def __repr__(self):
        return self.data

    def _repr_html_(self):
        try:
            from pygments import highlight, lexers
            from pygments.formatters import HtmlFormatter
        except ImportError:
            return "<pre><code>%s</code></pre>" % escape(self.data)
        if self.language:
            lexer = lexers.get_lexer_by_name(self.language)
        else:
            lexer = lexers.get_lexer_for_filename(self.filename) if self.filename else lexers.guess_lexer(self.data)
        style = HtmlFormatter()
        return "<style>%s</style>%s" % (style.get_style_defs(".highlight"), highlight(self.data, lexer, style))


IN_CORE = (DisplayObject, TextDisplayObject, Pretty, HTML, Markdown, Math, Latex, SVG, ProgressBar, JSON, GeoJSON, Javascript, Image, Video)
IN_LIB = (Audio, IFrame, YouTubeVideo, VimeoVideo, ScribdDocument, FileLink, FileLinks, Code)
KINDS = (
    ("pretty", "text/plain"), ("html", "text/html"), ("markdown", "text/markdown"), ("svg", "image/svg+xml"), ("png", "image/png"),
    ("jpeg", "image/jpeg"), ("webp", "image/webp"), ("latex", "text/latex"), ("json", "application/json"),
    ("javascript", "application/javascript"), ("pdf", "application/pdf"),
)


def make_display_of(name, mime):
    def display_of(*objs, raw=False, metadata=None):
        if metadata:
            metadata = {mime: metadata}
        display(*[{mime: obj} for obj in objs] if raw else objs, raw=raw, metadata=metadata, include=[mime])

    display_of.__name__ = display_of.__qualname__ = "display_" + name
    display_of.__doc__ = "Show objects as %s." % mime
    return display_of


def modules(functions):
    """Return the names of each module of the stand-in."""
    global display
    display = functions["display"]
    core, lib = {cls.__name__: cls for cls in IN_CORE}, {cls.__name__: cls for cls in IN_LIB}
    for cls in IN_CORE + IN_LIB:
        cls.__module__ = CORE if cls in IN_CORE else LIB
    core.update({"display_" + name: make_display_of(name, mime) for name, mime in KINDS})
    everything = dict(core, **lib)
    everything.update(functions)

    def get_ipython():
        """None: this is no notebook, and there is no shell."""

    # Libraries ask for the version, and whether they are in a notebook.
    top = {"version_info": (8, 99, 0, ""), "__version__": "8.99.0", "get_ipython": get_ipython}
    return {
        "IPython": top, "IPython.core": {}, "IPython.lib": {}, "IPython.display": everything, CORE: dict(core, **functions),
        "IPython.core.display_functions": dict(functions), LIB: lib, "IPython.core.getipython": {"get_ipython": get_ipython},
    }
