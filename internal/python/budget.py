"""Fits the forms of an object into the room that the results of an execution have left.

Standard library only, Python 3.8 and later.
"""

import forms
from start import BUILTINS, load

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

RECORD = 16  # bytes of the record that a form was omitted or reduced
CHART = "application/vnd.kaa.chart+json"


class Frame:
    """The forms of an object for which there is room, as members of a frame."""

    def __init__(self, room):
        self.room, self.members = room, {}

    def add(self, name, key, value):
        """Add a member, which is JSON. Return False if there is no room for it."""
        size = len(key) + len(value)
        if size > self.room:
            return False
        self.room -= size
        self.members.setdefault(name, []).append(forms.quote(key) + b":" + value)
        return True

    def add_all(self, name, values):
        for key, value in values.items():
            self.add(name, key, value)


def fit(shown, room, pictures):
    """Return a Frame with the forms that fit into room, small forms first. Return None if not
    even text/plain fits.

    pictures is the number of pictures that share the room. If it is 0, the number is not known.
    Then each picture may have half of the room that is left, or is reduced to a quarter of it.
    """
    frame = Frame(room)
    plain = limit = shown.plain
    text, limit = forms.quote(plain), len(plain)
    while len(text) > room // 2 and limit > 16:
        limit = limit * 3 // 4
        text = forms.quote(forms.clip(plain, limit))
    if not frame.add("data", forms.PLAIN, text):
        return None
    frame.add_all("errors", {name: forms.quote(message) for name, message in shown.errors.items()})
    if shown.left_out:
        frame.add_all("omitted", {mime: b"%d" % size for mime, size in shown.left_out.items()})
    todo = sorted(shown.data.items(), key=lambda item: len(item[1]))
    while todo:
        mime, form = todo.pop(0)
        frame.room -= len(mime) + RECORD
        small = form if len(form) <= most_of(mime, frame.room, pictures) else smaller(shown, mime, form, frame.room, pictures)
        if small is None or not frame.add("data", mime, small):
            frame.room += len(mime) + RECORD
            frame.add("omitted", mime, b"%d" % len(form))
            if mime in shown.instead:
                mime, make = shown.instead.pop(mime)
                shown.add("savefig", mime, shown.attempt("savefig", make))
                todo += [(mime, shown.data[mime])] if mime in shown.data else []
        elif small is not form:
            frame.room += len(mime) + RECORD
            if mime in (forms.PNG, forms.JPEG):
                frame.add("reduced", mime, b"%d" % len(form))
    frame.add_all("metadata", shown.metadata)
    return frame


def most_of(mime, room, pictures):
    if mime == CHART:  # it must not take the room of pictures
        return room // 4 // (pictures or 1)
    if mime not in (forms.PNG, forms.JPEG):
        return room
    return room // pictures if pictures else room // 2


def smaller(shown, mime, form, room, pictures):
    """Return a form reduced to its part of the room, or None if that is not possible."""
    if mime in shown.smaller:
        return forms.attempt(shown.smaller[mime], form, room - len(mime))
    if mime not in (forms.PNG, forms.JPEG):
        return None
    most = (room // pictures if pictures else room // 4) - len(mime)
    return forms.attempt(load("pictures").smaller, form, most, mime)
