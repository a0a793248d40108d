"""The elements of a chart: what the artists of matplotlib's axes show. See charts.py.

Standard library only, Python 3.8 and later.
"""

from time import monotonic

import forms
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

MAX_ARTISTS, MAX_TICKS, MAX_LABEL = 5000, 1000, 1000
POINT = 40  # bytes that a point takes as JSON, about
DIGITS = 8
INFINITY = float("inf")


class TooLarge(Exception):
    """A chart has too many points. size is about that of its JSON."""

    def __init__(self, points):
        super().__init__()
        self.size = points * POINT


class Kinds:
    """The classes of matplotlib by which artists are distinguished."""

    MOST = 50000  # points of a figure

    def __init__(self, modules):
        lines, patches, collections, container = (modules["matplotlib." + name] for name in ("lines", "patches", "collections", "container"))
        self.Line, self.Wedge, self.PathPatch, self.Rectangle = lines.Line2D, patches.Wedge, patches.PathPatch, patches.Rectangle
        self.Scatter, self.Lines, self.Area = collections.PathCollection, collections.LineCollection, collections.PolyCollection
        self.Bars, self.Errors, self.Stems = container.BarContainer, container.ErrorbarContainer, container.StemContainer
        self.dates = modules.get("matplotlib.dates")


class Axis:
    """The ticks and the scale of an axis."""

    def __init__(self, axis, kinds):
        converter = axis.get_converter() if hasattr(axis, "get_converter") else axis.converter
        converter = type(converter).__name__
        self.dates = kinds.dates if converter.endswith(("DateConverter", "DatetimeConverter")) else None
        self.ticks = plain(axis.get_majorticklocs())
        if len(self.ticks) > MAX_TICKS:
            raise TooLarge(len(self.ticks))
        self.labels = [clipped(label.get_text()) for label in axis.get_majorticklabels()]
        self.scale = self.scale_of(forms.exact(axis.get_scale()), converter)
        # Times without a zone are those of axes without units.
        self.zoned = self.dates is not None and axis.get_units() is not None
        self.categories = dict(zip(self.ticks, self.labels)) if converter == "StrCategoryConverter" else {}

    def scale_of(self, name, converter):
        if self.dates is not None:
            return "datetime"
        if name != "linear":
            return name if name in ("log", "symlog", "logit", "function", "functionlog", "asinh") else "unknown"
        if converter == "StrCategoryConverter":
            return "categorical"
        numbered = [tick == i and label != str(i) for i, (tick, label) in enumerate(zip(self.ticks, self.labels))]
        return "categorical" if numbered and all(numbered) else "linear"

    def points(self, values):
        """Return what numbers of the axis stand for: numbers, times as text, or categories."""
        if self.dates is None:
            return [self.categories.get(value) or number(value) for value in values]
        return [None if number(value) is None else self.time(value, self.zoned) for value in values]

    def time(self, value, zoned):
        time = self.dates.num2date(value)
        return (time if zoned else time.replace(tzinfo=None)).isoformat()

    def places(self):
        """Return the ticks: numbers, or times as text."""
        return [number(tick) for tick in self.ticks] if self.dates is None else [self.time(tick, True) for tick in self.ticks]

    def label_at(self, place):
        """Return the label of the tick at a place, else the place."""
        near = min(zip(self.ticks, self.labels), key=lambda tick: abs(tick[0] - place), default=None)
        span = (max(self.ticks) - min(self.ticks)) / len(self.ticks) if self.ticks else 0
        if near is not None and near[1] and (abs(near[0] - place) <= 1e-6 * span or self.scale == "categorical"):
            return near[1]
        value = place if self.dates is None else self.time(place, self.zoned)
        return "%g" % value if isinstance(value, float) else str(value)


def plain(values):
    """Return an array as a list."""
    return values.tolist() if hasattr(values, "tolist") else list(values)


def number(value):
    """Return a number of Python that JSON has, or None."""
    if type(value) is not float:
        if type(value) is int:
            return value
        try:
            value = float(value)
        except (TypeError, ValueError, OverflowError):
            return None
    return value if -INFINITY < value < INFINITY else None


def rounded(value):
    value = number(value)
    return None if value is None else round(value, DIGITS)


def clipped(label):
    return forms.clip(forms.exact(label), MAX_LABEL)


def is_named(label):
    return isinstance(label, str) and label and not label.startswith("_")


class Axes:
    """One system of axes, and its artists by their kinds."""

    def __init__(self, ax, kinds, deadline):
        self.ax, self.kinds, self.deadline = ax, kinds, deadline
        parts = [list(getattr(ax, name)) for name in ("lines", "patches", "collections", "images", "artists", "tables", "containers")]
        self.size = 0
        if sum(map(len, parts)) > MAX_ARTISTS:
            raise TooLarge(sum(map(len, parts)))
        self.all_lines, self.patches, self.collections, images, artists, tables, self.containers = parts
        self.others = images + artists + tables
        self.sort()
        self.size = sum(len(line.get_xdata(orig=False)) for line in self.curves) + sum(len(group.get_offsets()) for group in self.scatters)
        self.size += len(self.rectangles)
        self.made = {}

    def sort(self):
        """Sort artists that show data from ranges of errors, stems and lines across, which belong to these."""
        kinds, others = self.kinds, []
        for container in self.containers:
            if isinstance(container, kinds.Errors):
                _, caps, ranges = container.lines
                others += [*caps, *ranges]
            elif isinstance(container, kinds.Stems):
                others += [container.baseline, container.stemlines]
        beside = set(map(id, others))
        lines = [line for line in self.all_lines if id(line) not in beside]
        self.curves = [line for line in lines if line.get_transform() == self.ax.transData and not is_across(line)]
        self.across = [line for line in lines if line not in self.curves]
        collections = [one for one in self.collections if id(one) not in beside]
        self.scatters = [one for one in collections if isinstance(one, kinds.Scatter)]
        self.areas = [one for one in collections if isinstance(one, kinds.Area)]
        self.others += [one for one in collections if not isinstance(one, (kinds.Scatter, kinds.Area, kinds.Lines))]
        self.ranges = [one for one in collections if isinstance(one, kinds.Lines)]
        self.bar_groups = [one for one in self.containers if isinstance(one, kinds.Bars)]
        self.rectangles = [bar for group in self.bar_groups for bar in group.patches]
        in_bars = set(map(id, self.rectangles))
        self.pies = [one for one in self.patches if isinstance(one, kinds.Wedge)]
        self.paths = [one for one in self.patches if isinstance(one, kinds.PathPatch)]
        self.others += [one for one in self.patches if id(one) not in in_bars and not isinstance(one, (kinds.Wedge, kinds.PathPatch))]

    def has_artists(self):
        return bool(self.all_lines or self.patches or self.collections or self.others)

    def kind(self):
        """Return the type of the chart, or None if it is unknown."""
        if self.ax.name == "3d" or self.others:
            return None
        self.x, self.y = Axis(self.ax.xaxis, self.kinds), Axis(self.ax.yaxis, self.kinds)
        self.whiskers = Boxes(self)
        if self.whiskers.found and not self.scatters and not self.rectangles:
            return "box_and_whisker"
        kinds = [kind for kind, artists in (("scatter", self.scatters), ("bar", self.rectangles), ("pie", self.pies), ("line", self.curves)) if artists]
        if self.paths or len(kinds) > 1 or (self.areas and kinds != ["line"]):
            return None
        if not kinds and self.across and not self.ranges:
            self.curves = [line for line in self.across if line.get_transform() == self.ax.transData]
            return "line" if self.curves else None
        return kinds[0] if kinds else None

    def check(self):
        if monotonic() > self.deadline:
            raise TimeoutError

    def points(self, xs, ys):
        self.check()
        return [list(point) for point in zip(self.x.points(plain(xs)), self.y.points(plain(ys)))]

    def lines(self):
        elements = []
        for i, line in enumerate(self.curves):
            label = line.get_label()
            points = self.points(line.get_xdata(orig=False), line.get_ydata(orig=False))
            elements.append({"label": clipped(label) if is_named(label) else "Line %d" % i, "points": points})
        return elements

    def groups(self):
        elements = []
        for i, group in enumerate(self.scatters):
            label, offsets = group.get_label(), group.get_offsets()
            points = self.points(offsets[:, 0], offsets[:, 1])
            elements.append({"label": clipped(label) if is_named(label) else "Group %d" % i, "points": points})
        return elements

    def bars(self):
        """Return the bars, and whether they are horizontal."""
        horizontal = all(getattr(group, "orientation", None) == "horizontal" for group in self.bar_groups)
        elements = []
        for i, group in enumerate(self.bar_groups):
            self.check()
            label = group.get_label()
            name = clipped(label) if is_named(label) else "Group %d" % i
            for bar in group.patches:
                axis, start, size, value = (
                    (self.y, bar.get_y(), bar.get_height(), bar.get_width()) if horizontal else
                    (self.x, bar.get_x(), bar.get_width(), bar.get_height()))
                elements.append({"label": axis.label_at(float(start) + float(size) / 2), "group": name, "value": number(value)})
        return elements, horizontal

    def wedges(self):
        return [{"label": clipped(wedge.get_label() or ""), "angle": rounded(abs(wedge.theta2 - wedge.theta1)), "radius": number(wedge.r)}
                for wedge in self.pies]

    def boxes(self):
        return self.whiskers.elements(), self.whiskers.horizontal


def is_across(line):
    """Return whether a line has two points and is parallel to an axis, as those are that mark a value."""
    xs, ys = line.get_xdata(orig=False), line.get_ydata(orig=False)
    return len(xs) == 2 and len(ys) == 2 and bool(xs[0] == xs[1] or ys[0] == ys[1])


class Boxes:
    """The boxes that boxplot has drawn. It leaves lines only: the box, two whiskers, two caps, the
    median, perhaps the mean, and the outliers, each about the place of the box."""

    def __init__(self, axes):
        self.axes, self.horizontal, self.found = axes, False, []
        lines = [line for line in axes.all_lines if line.get_transform() == axes.ax.transData]
        if len(lines) < 3:
            return
        data = [(line, plain(line.get_xdata(orig=False)), plain(line.get_ydata(orig=False))) for line in lines if len(line.get_xdata(orig=False)) <= Kinds.MOST]
        outlines = [outline(path.get_path().vertices) for path in axes.paths]
        outlines += [(xs, ys) for _, xs, ys in data if len(xs) >= 5 and xs[0] == xs[-1] and ys[0] == ys[-1]]
        for horizontal in False, True:
            axes.check()
            turned = [(line, ys, xs) if horizontal else (line, xs, ys) for line, xs, ys in data]
            found = []
            for xs, ys in outlines:
                axes.check()
                found.append(box_of((ys, xs) if horizontal else (xs, ys), turned))
            if found and all(found):
                self.found, self.horizontal = sorted(found, key=lambda box: box["at"]), horizontal
                return

    def elements(self):
        axis = self.axes.y if self.horizontal else self.axes.x
        elements = []
        for box in self.found:
            named = [label for tick, label in zip(axis.ticks, axis.labels) if abs(tick - box["at"]) < 1e-6]
            values = {name: [rounded(one) for one in value] if name == "outliers" else rounded(value) for name, value in box.items() if name != "at"}
            elements.append(dict(label=named[0] if named and named[0] else axis.label_at(box["at"]), **values))
        return elements


def outline(vertices):
    return plain(vertices[:, 0]), plain(vertices[:, 1])


def box_of(outlined, data):
    """Return the box with an outline, in which values go along the second of the axes, or None."""
    left, right = min(outlined[0]), max(outlined[0])
    at, near = (left + right) / 2, (right - left) * 1e-6
    whiskers, across, marked = [], [], []
    for line, xs, ys in data:
        is_centred = all(abs(x - at) <= near for x in xs)
        if not xs or not (is_centred or (len(xs) == 2 and abs((xs[0] + xs[1]) / 2 - at) <= near and ys[0] == ys[1])):
            continue
        if line.get_linestyle() in ("None", " ", "") and line.get_marker() not in ("None", None, " ", ""):
            marked.append(ys)
        elif len(xs) == 2 and xs[0] == xs[1]:
            whiskers.append(ys)
        elif len(xs) == 2:
            across.append(ys[0])
    if len(whiskers) != 2 or not across:
        return None
    low, high = sorted(whiskers, key=sum)
    # The mean comes before the outliers. If there is one of both only, outliers are beyond the whiskers.
    outliers = [y for y in (marked[-1] if marked else ()) if len(marked) > 1 or y < min(low) or y > max(high)]
    median = across[2] if len(across) > 2 else across[0]
    return {"at": at, "min": min(low), "first_quartile": max(low), "median": median, "third_quartile": min(high), "max": max(high), "outliers": outliers}
