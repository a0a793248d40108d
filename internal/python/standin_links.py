"""Frames of other pages and links to files of the stand-in for IPython.display. See standin.py.

Standard library only, Python 3.8 and later.
"""

import os

from standin_base import escape, exists
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py


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
