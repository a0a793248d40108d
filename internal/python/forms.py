"""The forms of an object that code shows, by IPython's protocol and for a few libraries.

Every method that is called here may be the code's, and a __repr__ may do anything. A failure is
recorded in errors, and never fails the execution.

Standard library only, Python 3.8 and later.
"""

import binascii
import json
import types
from _json import encode_basestring

from start import BUILTINS, load

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

MAX_PLAIN = 64 << 10  # characters of text/plain
MAX_FORMS = 32
MAX_MIME = 200
MAX_ERROR = 1000  # characters
MAX_METADATA = 10000  # bytes of one form's
MIME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&^_.+-/; =")

PLAIN, HTML, PNG, JPEG, SVG, DATA = "text/plain", "text/html", "image/png", "image/jpeg", "image/svg+xml", "application/json"
METHODS = (
    (HTML, "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    (SVG, "_repr_svg_"),
    (PNG, "_repr_png_"),
    (JPEG, "_repr_jpeg_"),
    ("text/latex", "_repr_latex_"),
    (DATA, "_repr_json_"),
    ("application/javascript", "_repr_javascript_"),
    ("application/pdf", "_repr_pdf_"),
)
# Objects of these have no other form than their repr. A search for methods would touch memory.
SIMPLE = frozenset((int, float, complex, bool, str, bytes, list, tuple, dict, set, frozenset, range, type(None)))

MRO, NAMES = type.__dict__["__mro__"].__get__, type.__dict__["__dict__"].__get__
TYPE_NAME = type.__dict__["__name__"].__get__
to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
from_json = json.JSONDecoder().decode
ABSENT = object()


def attempt(function, *args, **more):
    """Call a function that may be the code's. Return None if it fails. Only an interrupt is raised."""
    try:
        return function(*args, **more)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def exact(text):
    """Return a str as an exact str, whatever methods its class has."""
    return "".join(("", text))


def clip(text, limit):
    if len(text) <= limit:
        return text
    half = limit // 2
    return "%s\n... [%d characters dropped] ...\n%s" % (text[:half], len(text) - 2 * half, text[-half:])


def encoded(text):
    """Return JSON as UTF-8. Half a surrogate pair has no UTF-8. It can only be within a string, so
    it becomes an escape."""
    return text.encode("utf-8", "backslashreplace")


def quote(text):
    return encoded(encode_basestring(text))


def is_mime(text):
    return 0 < text.find("/") < len(text) - 1 < MAX_MIME and MIME_CHARACTERS.issuperset(text)


def method_of(obj, name):
    """Return the method that get_real_method of IPython finds, else None. An attribute that cannot
    be called is none, nor is the method of a class that is for its objects."""
    method = getattr(obj, name, None)
    if not callable(method) or (type in MRO(type(obj)) and type(method) is not types.MethodType):
        return None
    return method


def call(function, *args, **more):
    return function(*args, **more)


class Shown:
    """An object in all its forms.

    plain is the text of text/plain. data has the other forms as JSON, metadata their metadata.
    errors has a message for each method that failed. cut has the part of a table that
    application/json shows. smaller has functions that reduce a form, instead functions that make
    another form in its place. left_out has the sizes of forms that are too large to be made. run
    calls functions of the code or of a library from a frame that is the code's.
    """

    left_out = None

    def __init__(self, run=None):
        self.run = run or call
        self.plain = None
        self.data, self.metadata, self.errors, self.cut, self.smaller, self.instead = {}, {}, {}, None, {}, {}

    def fail(self, name, error):
        message = attempt(lambda: exact(str(error))) or ""
        text = exact(TYPE_NAME(type(error))) + (": " + message if message else "")
        if len(self.errors) < MAX_FORMS:
            self.errors[name] = clip(text, MAX_ERROR)
        return self.errors.get(name, "")

    def attempt(self, name, function, *args, **more):
        """Call a function that may be the code's. If it fails, record that and return ABSENT."""
        try:
            return function(*args, **more)
        except (KeyboardInterrupt, NotImplementedError) as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return ABSENT  # in IPython's protocol: the object does not have this form
        except BaseException as error:
            self.fail(name, error)
            return ABSENT

    def call(self, obj, name, **more):
        method = attempt(method_of, obj, name)
        return ABSENT if method is None else self.attempt(name, self.run, method, **more)

    def add(self, name, mime, value):
        """Add the form that the method called name returned, if it can be sent."""
        self.attempt(name, self.take, name, mime, value)

    def take(self, name, mime, value):
        if isinstance(value, tuple) and len(value) == 2:  # with metadata, as IPython has it
            value, metadata = value
            self.describe(mime, metadata)
        if value is ABSENT or value is None:
            return
        form = encode(mime, value)
        if form is None:
            return
        if mime == PLAIN:
            if form[:1] == b'"':
                self.plain = clip(from_json(form.decode()), MAX_PLAIN)
        else:
            self.data[mime] = form

    def describe(self, mime, metadata):
        if isinstance(metadata, dict) and metadata and is_mime(mime) and len(self.metadata) < MAX_FORMS:
            form = attempt(lambda: encoded(exact(to_json(metadata))))
            if form is not None and len(form) <= MAX_METADATA:
                self.metadata[mime] = form

    def add_bundle(self, values, metadata=None):
        """Add forms by MIME type."""
        if not isinstance(values, dict):
            return
        for mime, value in list(dict.items(values))[:MAX_FORMS]:
            if isinstance(mime, str) and is_mime(exact(mime)):
                self.add(exact(mime), exact(mime), value)
        self.add_metadata(metadata)

    def add_metadata(self, metadata):
        if isinstance(metadata, dict):
            for mime, value in list(dict.items(metadata))[:MAX_FORMS]:
                if isinstance(mime, str):
                    attempt(self.describe, exact(mime), value)

    def keep(self, wanted):
        """Keep the forms for which wanted returns true, and text/plain."""
        for forms in self.data, self.metadata:
            for mime in [mime for mime in forms if not wanted(mime)]:
                del forms[mime]


def encode(mime, value):
    """Return a value as JSON, or None if that is not possible."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b'"%s"' % binascii.b2a_base64(value, newline=False)
    if isinstance(value, str):
        return quote(exact(value))
    if mime.split(";")[0].endswith("json"):
        return encoded(exact(to_json(value)))
    return None


def of_bundle(values, metadata=None):
    """Return forms that are given by MIME type."""
    shown = Shown()
    shown.attempt("display", shown.add_bundle, values, metadata)
    shown.plain = shown.plain or ""
    return shown


def of(obj, figure_formats, run=None):
    """Return the forms of obj, or None if it has shown itself."""
    shown = Shown(run)
    if type(obj) not in SIMPLE and attempt(getattr, obj, "_ipython_canary_method_should_not_exist_", None) is None:
        if shown.call(obj, "_ipython_display_") is not ABSENT:
            return None
        add_forms(shown, obj, figure_formats)
        if shown.plain is None and attempt(has_pretty, obj):
            add_pretty(shown, obj)
    if shown.plain is None:
        plain = attempt_repr(shown, obj)
        shown.plain = clip(plain, MAX_PLAIN)
    return shown


def add_forms(shown, obj, figure_formats):
    shown.attempt("_repr_mimebundle_", add_own_bundle, shown, shown.call(obj, "_repr_mimebundle_", include=None, exclude=None))
    if not shown.data:
        for name, script, function, label in SPECIAL:
            if attempt(is_a, obj, name):
                shown.attempt(label, getattr(load(script), function), shown, obj, figure_formats)
    for mime, method in METHODS:
        if mime not in shown.data and not (mime == JPEG and PNG in shown.data):
            shown.add(method, mime, shown.call(obj, method))


def has_pretty(obj):
    return any("_repr_pretty_" in NAMES(cls) for cls in MRO(type(obj)))


def add_pretty(shown, obj):
    pretty = load("pretty")
    if attempt(pretty.method_of, obj) is not None:
        shown.add("_repr_pretty_", PLAIN, shown.attempt("_repr_pretty_", shown.run, pretty.text_of, obj))


def add_own_bundle(shown, bundle):
    metadata = None
    if isinstance(bundle, tuple) and bundle:
        bundle, metadata = bundle[0], bundle[-1]
    shown.add_bundle(bundle, metadata)


def attempt_repr(shown, obj):
    """Return repr(obj), or a description if that raises."""
    try:
        return exact(shown.run(repr, obj))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return "<%s object whose repr raised %s>" % (exact(TYPE_NAME(type(obj))), shown.fail("__repr__", error))


def is_a(obj, name):
    """Return whether obj is of a library's class. That works without loading the library."""
    package, _, class_name = name.partition(".")
    return any(TYPE_NAME(cls) == class_name and cls.__module__.split(".")[0] == package for cls in MRO(type(obj)))


FIGURE = "matplotlib.Figure"
SPECIAL = (
    ("pandas.DataFrame", "tables", "add_frame", DATA),
    ("pandas.Series", "tables", "add_series", DATA),
    (FIGURE, "pictures", "add_figure", "savefig"),
)
