"""The text of objects that have _repr_pretty_, IPython's method for it.

forms.py loads this script when such an object is shown.

Standard library only, Python 3.8 and later.
"""

import sys
from contextlib import contextmanager

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

LIBRARY = "IPython.lib.pretty"
NAMES, MRO = type.__dict__["__dict__"].__get__, type.__dict__["__mro__"].__get__


def method_of(obj):
    """Return the method of the class of obj that comes before every __repr__ of its classes, or None."""
    for cls in MRO(type(obj))[:-1]:
        names = NAMES(cls)
        if "_repr_pretty_" in names:
            return names["_repr_pretty_"] if callable(names["_repr_pretty_"]) else None
        if "__repr__" in names:
            return None
    return None


def text_of(obj):
    """Return the text. IPython makes it if it is loaded."""
    module = sys.modules.get(LIBRARY)
    if module is not None:
        return module.pretty(obj)
    printer = Printer()
    printer.pretty(obj)
    return "".join(printer.parts)


class Printer:
    """The printer that the methods write to. It has the methods of IPython's printer, but breaks lines only at break_."""

    max_width, max_seq_length, verbose, newline = 79, 1000, False, "\n"

    def __init__(self):
        self.parts, self.stack = [], []
        self.indentation = self.output_width = 0

    def text(self, obj):
        """Add text."""
        self.parts.append("".join(("", obj)))
        self.output_width += len(obj)

    def breakable(self, sep=" "):
        """Add a place where IPython could break the line."""
        self.text(sep)

    def break_(self):
        """Begin another line."""
        self.text(self.newline + " " * self.indentation)

    @contextmanager
    def indent(self, indent):
        """Indent the lines that begin in the block."""
        self.indentation += indent
        try:
            yield
        finally:
            self.indentation -= indent

    @contextmanager
    def group(self, indent=0, open="", close=""):
        """Put the text of the block between two others."""
        self.begin_group(indent, open)
        try:
            yield
        finally:
            self.end_group(indent, close)

    def begin_group(self, indent=0, open=""):
        """Begin a group."""
        self.text(open)
        self.indentation += indent

    def end_group(self, dedent=0, close=""):
        """End a group."""
        self.indentation -= dedent
        self.text(close)

    def flush(self):
        """Do nothing: there is no buffer."""

    def pretty(self, obj):
        """Add the text of an object."""
        method, cycle = method_of(obj), id(obj) in self.stack
        if method is None:
            self.text(repr(obj))
            return
        self.stack.append(id(obj))
        try:
            method(obj, self, cycle)
        finally:
            self.stack.pop()
