"""The base classes of the stand-in for IPython.display, and their helpers. See standin.py.

Standard library only, Python 3.8 and later.
"""

import os

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py


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
