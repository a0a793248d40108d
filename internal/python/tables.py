"""Data frames of pandas as JSON: lists by column, with all digits.

forms.py loads this script when code shows a frame.

Standard library only, Python 3.8 and later.
"""

from _json import encode_basestring

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

HTML, DATA = "text/html", "application/json"
MAX_ROWS, MAX_COLUMNS = 1000, 200
MAX_DEPTH = 8  # of lists and dicts in a cell
INFINITY = float("inf")
TYPE_NAME = type.__dict__["__name__"].__get__


def add_frame(shown, frame, _):
    shown.add("_repr_html_", HTML, shown.run(frame._repr_html_))
    form = add_columns(shown, frame, MAX_ROWS)

    def smaller(form, most):
        """Return the columns with as many rows as fit."""
        rows = min(MAX_ROWS, len(frame))
        while rows > 1 and len(form) > most:
            rows = min(rows // 2, rows * most // len(form))
            form = add_columns(shown, frame, max(1, rows))
        return form

    if form is not None:
        shown.data[DATA] = form
        shown.smaller[DATA] = smaller


def add_series(shown, series, _):
    add_frame(shown, series.to_frame(), _)


def add_columns(shown, frame, rows):
    """Return the first rows of a frame by column, as JSON. Record the omitted part in cut."""
    part = frame.iloc[:rows, :MAX_COLUMNS]
    shown.cut = {name: [now, all_] for name, now, all_ in (
        ("rows", len(part), len(frame)), ("columns", part.shape[1], frame.shape[1])) if now < all_} or None
    columns, names = [], set()
    for i in range(part.shape[1]):
        columns.append((free(str(part.columns[i]), names), cells(part.iloc[:, i])))
    index = part.index
    if not is_row_numbers(index):
        levels = []
        for i in range(index.nlevels):
            name = index.names[i]
            if name is None:
                name = "index" if index.nlevels == 1 else "level_%d" % i
            levels.append((free(str(name), names), cells(index.get_level_values(i))))
        columns = levels + columns
    return ("{%s}" % ",".join("%s:[%s]" % (encode_basestring(name), ",".join(values)) for name, values in columns)).encode(
        "utf-8", "backslashreplace")


def free(name, names):
    while name in names:
        name += "_"
    names.add(name)
    return name


def is_row_numbers(index):
    """Return whether an index contains only the numbers of the rows."""
    return TYPE_NAME(type(index)) == "RangeIndex" and index.name is None and index.start == 0 and index.step == 1


def cells(column):
    """Return the cells of a series or an index as JSON."""
    if getattr(column.dtype, "kind", "") == "f" and column.dtype.itemsize < 8:
        # These have the digits of their type; a float of Python would show more.
        return [cell(x) if TYPE_NAME(type(x)) == "NAType" else cell(float(str(x))) for x in column.to_numpy()]
    return [cell(value) for value in column.tolist()]


def cell(value, depth=0):
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is float:
        return float.__repr__(value) if -INFINITY < value < INFINITY else "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return int.__repr__(value)
    if value is None or TYPE_NAME(kind) in ("NaTType", "NAType"):
        return "null"
    return other_cell(value, depth)


def other_cell(value, depth):
    import datetime
    import decimal

    if isinstance(value, (datetime.date, datetime.time)):
        return encode_basestring(value.isoformat())
    if isinstance(value, datetime.timedelta):
        return encode_basestring(value.isoformat() if hasattr(value, "isoformat") else str(value))
    if isinstance(value, decimal.Decimal):
        return str(value) if value.is_finite() else "null"
    if depth < MAX_DEPTH:
        if isinstance(value, dict):
            return "{%s}" % ",".join("%s:%s" % (encode_basestring(str(k)), cell(v, depth + 1)) for k, v in value.items())
        if isinstance(value, (list, tuple, set, frozenset)):
            return "[%s]" % ",".join([cell(v, depth + 1) for v in value])
        if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
            return numpy_cell(value, depth)
    return encode_basestring("".join(("", str(value))))


def numpy_cell(value, depth):
    if value.ndim == 0 and value.dtype.kind == "f" and value.dtype.itemsize < 8:
        return cell(float(str(value)), depth + 1)
    if value.dtype.kind in "mM":  # a number would lack the unit
        return cell(value.astype(str).tolist(), depth + 1)
    plain = value.tolist()
    return encode_basestring(str(value)) if plain is value else cell(plain, depth + 1)
