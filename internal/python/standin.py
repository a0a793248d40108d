"""A stand-in for IPython.display, for code that was written for a notebook, where IPython is not installed.

notebook.py loads it when code imports IPython, and passes display and its helpers.

Standard library only, Python 3.8 and later.
"""

import json
import os

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

CORE, LIB = "IPython.core.display", "IPython.lib.display"
SIGNATURES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
display = None  # see fill


def escape(text):
    for character, entity in ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#x27;"):
        text = text.replace(character, entity)
    return text


def exists(path):
    try:
        return os.path.exists(path)
    except (OSError, ValueError):
        return False


def base64_of(data):
    import base64

    return data if isinstance(data, str) else base64.b64encode(data).decode()


def media_type(name, default):
    import mimetypes

    return mimetypes.guess_type(name)[0] or default


class DisplayObject:
    """Data of one kind, from a string, bytes, a file or an address."""

    metadata = None
    _binary = False

    def __init__(self, data=None, url=None, filename=None, metadata=None):
        if isinstance(data, os.PathLike):
            data = os.fspath(data)
        if isinstance(data, str):
            if data.startswith("http") and url is None:
                data, url, filename = None, data, None
            elif filename is None and exists(data):
                data, url, filename = None, None, data
        self.url, self.filename, self.data = url, filename, data
        self.metadata = metadata if metadata is not None else self.metadata or {}
        self.reload()
        self._check_data()

    def __repr__(self):
        return "<%s.%s object>" % (type(self).__module__, type(self).__name__)

    def _check_data(self):
        pass

    def reload(self):
        """Read the data again, from its file or its address."""
        if self.filename is not None:
            with open(self.filename, "rb") as file:
                self.data = self._decoded(file.read(), "utf-8")
        elif self.url is not None:
            from urllib.request import urlopen

            with urlopen(self.url) as answer:
                self.data = self._decoded(answer.read(), answer.headers.get_content_charset() or "utf-8")

    def _decoded(self, data, encoding):
        return data if self._binary else data.decode(encoding, "replace")

    def _data_and_metadata(self):
        return (self.data, dict(self.metadata)) if self.metadata else self.data


class TextDisplayObject(DisplayObject):
    def _check_data(self):
        if self.data is not None and not isinstance(self.data, str):
            raise TypeError("%s expects text, not %r" % (type(self).__name__, self.data))


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


class Image(DisplayObject):
    """A PNG, JPEG, GIF or WebP, embedded unless only its address is known."""

    _binary = True

    def __init__(self, data=None, url=None, filename=None, format=None, embed=None, width=None, height=None, retina=False,
                 unconfined=False, metadata=None, alt=None):
        if isinstance(data, os.PathLike):
            data = os.fspath(data)
        if isinstance(data, str) and data.startswith("data:"):
            data, url = None, data
        is_address = isinstance(data, str) and data.startswith("http")
        self.embed = embed if embed is not None else url is None and not is_address
        self.width, self.height, self.retina, self.unconfined, self.alt = width, height, retina, unconfined, alt
        self.format = format and format.lower().replace("jpg", "jpeg")
        if isinstance(data, str) and not is_address and filename is None and url is None:
            data, filename = None, data  # the error is to name the missing file
        super().__init__(data, url, filename, metadata)
        if retina and self.format == "png" and isinstance(self.data, bytes):
            size = [int.from_bytes(self.data[i:i + 4], "big") // 2 for i in (16, 20)]
            self.width, self.height = width or size[0], height or size[1]

    def reload(self):
        if self.embed:
            super().reload()

    def _check_data(self):
        if self.format is None and isinstance(self.data, (bytes, bytearray)):
            self.format = next((name for start, name in SIGNATURES if self.data.startswith(start)), None)
        if self.format is None:
            name = (self.filename or self.url or "").lower()
            self.format = {"jpg": "jpeg"}.get(name.rpartition(".")[2], name.rpartition(".")[2]) or "png"
        self._mimetype = "image/" + self.format

    def _described(self):
        known = {"width": self.width, "height": self.height, "unconfined": self.unconfined or None, "alt": self.alt}
        return dict({name: value for name, value in known.items() if value is not None}, **self.metadata)

    def _data_and_metadata(self, always_both=False):
        if self.data is None:
            raise FileNotFoundError("No such file or directory: '%s'" % self.filename)
        described = self._described()
        return (base64_of(self.data), described) if described or always_both else base64_of(self.data)

    def _repr_mimebundle_(self, include=None, exclude=None):
        if not self.embed:
            return {"text/html": self._repr_html_()}
        data, described = self._data_and_metadata(always_both=True)
        return {self._mimetype: data}, {self._mimetype: described}

    def _repr_html_(self):
        if self.embed:
            return None
        more = "".join(' %s="%s"' % (name, escape(str(value))) for name, value in (
            ("width", self.width), ("height", self.height), ("alt", self.alt)) if value is not None)
        return '<img src="%s"%s>' % (escape(self.url), more)

    def _repr_png_(self):
        return self._data_and_metadata() if self.embed and self.format == "png" else None

    def _repr_jpeg_(self):
        return self._data_and_metadata() if self.embed and self.format == "jpeg" else None


class Video(DisplayObject):
    _binary = True

    def __init__(self, data=None, url=None, filename=None, embed=False, mimetype=None, width=None, height=None, html_attributes="controls"):
        if isinstance(data, os.PathLike):
            data = os.fspath(data)
        if isinstance(data, str) and url is None and data.startswith("data:"):
            data, url = None, data
        elif isinstance(data, str) and url is None and filename is None and not data.startswith("http"):
            data, filename = None, data
        if isinstance(data, bytes) and not embed:
            raise ValueError("data of a video is shown only with embed=True")
        self.mimetype, self.embed, self.width, self.height, self.html_attributes = mimetype, embed, width, height, html_attributes
        super().__init__(data, url, filename)

    def reload(self):
        if self.embed:
            super().reload()

    def _repr_html_(self):
        size = "".join(' %s="%s"' % (name, value) for name, value in (("width", self.width), ("height", self.height)) if value)
        source = self.url or self.filename or ""
        if self.embed:
            kind = self.mimetype or media_type(source, "video/mp4")
            source = "data:%s;base64,%s" % (kind, base64_of(self.data))
        return '<video src="%s" %s %s>\nYour browser does not support the <code>video</code> element.\n</video>' % (
            escape(source), self.html_attributes, size)


class Audio(DisplayObject):
    """Sound: a file, an address, or samples with their rate."""

    _binary = True

    def __init__(self, data=None, filename=None, url=None, embed=None, rate=None, autoplay=False, normalize=True, *, element_id=None):
        if data is None and filename is None and url is None:
            raise ValueError("No audio data found. Expecting filename, url, or data.")
        self.embed = embed if embed is not None else url is None or data is not None
        self.autoplay, self.element_id = autoplay, element_id
        super().__init__(data, url, filename)
        self.mimetype = media_type(self.filename or self.url or "", "audio/wav")
        if self.data is not None and not isinstance(self.data, bytes):
            if rate is None:
                raise ValueError("rate must be specified when data is a numpy array or list of audio samples.")
            self.data = wave_of(self.data, rate, normalize)

    def reload(self):
        if self.embed:
            super().reload()

    def src_attr(self):
        if self.embed and self.data is not None:
            return "data:%s;base64,%s" % (self.mimetype, base64_of(self.data))
        return self.url or ""

    def autoplay_attr(self):
        return 'autoplay="autoplay"' if self.autoplay else ""

    def element_id_attr(self):
        return 'id="%s"' % self.element_id if self.element_id else ""

    def _repr_html_(self):
        return '<audio %s controls="controls" %s>\n  <source src="%s" type="%s" />\n  Your browser does not support the audio element.\n</audio>' % (
            self.element_id_attr(), self.autoplay_attr(), escape(self.src_attr()), self.mimetype)


def wave_of(samples, rate, normalize):
    """Return samples, of one channel or as a list of channels, as a WAV file of 16 bits."""
    import array
    import io
    import sys
    import wave

    channels = [list(c) if hasattr(c, "__len__") else c for c in samples]
    if not channels or not isinstance(channels[0], list):
        channels = [channels]
    peak = max((abs(float(x)) for channel in channels for x in channel), default=0)
    if not normalize and peak > 1:
        raise ValueError("Audio data must be between -1 and 1 when normalize=False.")
    scale = 32767 / (peak if normalize and peak else 1)
    data = array.array("h", [int(float(x) * scale) for frame in zip(*channels) for x in frame])
    if sys.byteorder == "big":
        data.byteswap()
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(data.tobytes())
    return buffer.getvalue()


class IFrame:
    def __init__(self, src, width, height, extras=None, **params):
        self.src, self.width, self.height, self.extras, self.params = src, width, height, list(extras or ()), params

    def _repr_html_(self):
        from urllib.parse import urlencode

        return '<iframe\n    width="%s"\n    height="%s"\n    src="%s%s"\n    frameborder="0"\n    allowfullscreen\n    %s\n></iframe>' % (
            self.width, self.height, self.src, "?" + urlencode(self.params) if self.params else "", " ".join(self.extras))


class YouTubeVideo(IFrame):
    def __init__(self, id, width=400, height=300, allow_autoplay=False, **kwargs):
        self.id = id
        extras = ['allow="autoplay"'] if allow_autoplay else []
        super().__init__("https://www.youtube.com/embed/%s" % id, width, height, extras, **dict({"autoplay": 1} if allow_autoplay else {}, **kwargs))


class VimeoVideo(IFrame):
    def __init__(self, id, width=400, height=300, **kwargs):
        self.id = id
        super().__init__("https://player.vimeo.com/video/%s" % id, width, height, **kwargs)


class ScribdDocument(IFrame):
    def __init__(self, id, width=400, height=300, **kwargs):
        self.id = id
        super().__init__("https://www.scribd.com/embeds/%s/content" % id, width, height, **kwargs)


class FileLink:
    """A link to a file."""

    def __init__(self, path, url_prefix="", result_html_prefix="", result_html_suffix="<br>"):
        self.path, self.url_prefix = os.fspath(path), url_prefix
        self.result_html_prefix, self.result_html_suffix = result_html_prefix, result_html_suffix
        self._check()

    def _check(self):
        if os.path.isdir(self.path):
            raise ValueError("Cannot display a directory using FileLink. Use FileLinks to display '%s'." % self.path)

    def _link(self, path):
        name = escape(path)
        return "%s<a href='%s%s' target='_blank'>%s</a>%s" % (self.result_html_prefix, self.url_prefix, name, name, self.result_html_suffix)

    def _repr_html_(self):
        if not exists(self.path):
            return ("Path (<tt>%s</tt>) doesn't exist. It may still be in the process of being generated, or you may have the "
                    "incorrect path." % escape(self.path))
        return self._link(self.path)

    def __repr__(self):
        return os.path.abspath(self.path)


class FileLinks(FileLink):
    """Links to the files of a directory."""

    def __init__(self, path, url_prefix="", included_suffixes=None, result_html_prefix="", result_html_suffix="<br>", recursive=True, **more):
        self.included_suffixes, self.recursive = included_suffixes, recursive
        super().__init__(os.fspath(path).rstrip("/") or "/", url_prefix, result_html_prefix, result_html_suffix)

    def _check(self):
        if os.path.isfile(self.path):
            raise ValueError("Cannot display a file using FileLinks. Use FileLink to display '%s'." % self.path)

    def _files(self):
        for place, places, names in os.walk(self.path):
            places.sort()
            yield place, [n for n in sorted(names) if not self.included_suffixes or n.endswith(tuple(self.included_suffixes))]
            if not self.recursive:
                return

    def _repr_html_(self):
        return "\n".join("%s/<br>\n%s" % (escape(place), "\n".join(
            "&nbsp;&nbsp;" + self._link(os.path.join(place, name)) for name in names)) for place, names in self._files())

    def __repr__(self):
        return "\n".join("%s/\n%s" % (place, "\n".join("  " + name for name in names)) for place, names in self._files())


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
