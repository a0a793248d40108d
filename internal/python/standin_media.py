"""Images, videos and sound of the stand-in for IPython.display. See standin.py.

Standard library only, Python 3.8 and later.
"""

import os

from standin_base import DisplayObject, base64_of, escape, media_type
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

SIGNATURES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


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
