"""Draws figures of matplotlib, and reduces pictures that are too large.

forms.py, budget.py and display.py load this script when code shows one.

Standard library only, Python 3.8 and later.
"""

import binascii

from start import BUILTINS, load

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

PNG, JPEG, SVG = "image/png", "image/jpeg", "image/svg+xml"
FAST_OCTREE, LANCZOS = 2, 1  # Pillow's numbers, which have been in several places
COLOURS = 256
TRIES = 12


CONTENT = ("axes", "lines", "images", "texts", "patches", "artists", "legends", "subfigs")


def has_content(figure):
    return any(getattr(figure, name, None) for name in CONTENT)


def add_figure(shown, figure, formats):
    if not has_content(figure):
        return
    for name in formats:
        mime = PNG if name == "png" else SVG
        shown.add("savefig", mime, drawn(shown, figure, name))
    if PNG not in shown.data:
        shown.instead[SVG] = (PNG, lambda: drawn(shown, figure, "png"))
    load("charts").add(shown, figure)


def drawn(shown, figure, name):
    import io

    buffer = io.BytesIO()
    shown.run(figure.savefig, buffer, format=name, bbox_inches="tight")
    return buffer.getvalue() if name == "png" else buffer.getvalue().decode()


def smaller(form, most, kind):
    """Return a picture, in base64 as JSON, with at most most bytes, or None if that is not possible.

    It loses colours first, then pixels.
    """
    import io
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large pictures
        from PIL import Image

        whole = Image.open(io.BytesIO(binascii.a2b_base64(form)))
        whole = whole.convert("RGB" if kind == JPEG or is_opaque(whole) else "RGBA")
        scale, picture = 1.0, whole
        for _ in range(TRIES):
            buffer = io.BytesIO()
            if kind == JPEG:
                picture.save(buffer, "JPEG", quality=75)
            else:
                picture.quantize(COLOURS, FAST_OCTREE, 0, None, 0).save(buffer, "PNG")
            small = b'"%s"' % binascii.b2a_base64(buffer.getvalue(), newline=False)
            if len(small) <= most:
                return small
            scale *= min(0.9, (most / len(small)) ** 0.5 * 0.95)
            size = int(whole.width * scale), int(whole.height * scale)
            if min(size) < 16:
                return None
            picture = whole.resize(size, LANCZOS)
    return None


def is_opaque(picture):
    if picture.mode in ("RGBA", "LA"):
        return picture.getchannel("A").getextrema()[0] == 255
    return "transparency" not in picture.info
