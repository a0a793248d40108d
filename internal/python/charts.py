"""Charts as data: what a figure of matplotlib shows, as JSON.

pictures.py loads this script when code shows a figure, after the picture is drawn. A chart is

    {"type", "title", "elements", "x_label", "y_label", "x_unit", "y_unit",
     "x_ticks", "x_tick_labels", "x_scale", "y_ticks", "y_tick_labels", "y_scale"}

with the fields that its type has. The types, their fields and their elements are those of E2B's
Chart objects, which clients know how to draw.

Only matplotlib's public methods are called. Some of them may be the code's, in a subclass. A
failure makes the chart "unknown", and never fails the execution.

Standard library only, Python 3.8 and later.
"""

import re
import sys
from time import monotonic

import forms
from chart_elements import Axes, Kinds, TooLarge
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

CHART = "application/vnd.kaa.chart+json"
MAX_AXES = 100
MAX_TEXT = 1000
SECONDS = 2.0
UNIT = re.compile(r"\((.*?)\)|\[(.*?)\]")


def add(shown, figure):
    """Add the chart of a figure, or record that it is too large."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they would be of lines that the code does not have
        try:
            chart = of_figure(figure)
            if chart is not None:
                shown.data[CHART] = forms.encoded(forms.to_json(chart))
        except KeyboardInterrupt:
            raise
        except TooLarge as error:
            shown.left_out = {CHART: error.size}
        except BaseException:  # no chart
            pass


def of_figure(figure):
    """Return the chart of a figure, or None if it shows nothing."""
    modules = sys.modules
    if not isinstance(figure, modules["matplotlib.figure"].Figure):
        return None
    kinds = Kinds(modules)
    found = [ax for ax in list(figure.axes)[:MAX_AXES] if isinstance(ax, modules["matplotlib.axes"].Axes)]
    axes = [Axes(ax, kinds, monotonic() + SECONDS) for ax in found if ax.get_label() != "<colorbar>"]
    axes = [one for one in axes if one.has_artists()]
    if sum(one.size for one in axes) > kinds.MOST:
        raise TooLarge(sum(one.size for one in axes))
    charts = [of_axes(one) for one in axes]
    if len(charts) < 2:
        return charts[0] if charts else None
    return {"type": "superchart", "title": text(figure.get_suptitle() if hasattr(figure, "get_suptitle") else ""), "elements": charts}


def of_axes(axes):
    """Return the chart of one system of axes."""
    chart = {"type": "unknown", "title": None, "elements": []}
    try:
        chart["title"] = next((title for title in (text(axes.ax.get_title(loc=loc)) for loc in ("center", "left", "right")) if title), None)
        kind = axes.kind()
        if kind is not None:
            chart.update(FIELDS[kind](axes), type=kind)
    except (KeyboardInterrupt, TooLarge):
        raise
    except BaseException:
        chart.update(type="unknown", elements=[])
    return chart


def text(value):
    """Return a text that was set, as an exact str, or None for an empty one."""
    return forms.clip(forms.exact(str(value)), MAX_TEXT) or None


def labels(axes):
    fields = {}
    for name, label in ("x", axes.ax.get_xlabel()), ("y", axes.ax.get_ylabel()):
        label = text(label)
        unit = UNIT.search(label) if label else None
        fields[name + "_label"] = label
        fields[name + "_unit"] = (unit.group(1) or unit.group(2)) if unit else None
    return fields


def ticks(axes):
    fields = {}
    for name, axis in ("x", axes.x), ("y", axes.y):
        fields[name + "_ticks"] = axis.places()
        fields[name + "_tick_labels"] = axis.labels
        fields[name + "_scale"] = axis.scale
    return fields


def of_points(elements):
    return lambda axes: dict(labels(axes), **ticks(axes), elements=elements(axes))


def of_bars(axes):
    """Return the fields of bars. The labels of horizontal ones are those of a chart of columns."""
    elements, horizontal = axes.bars()
    return dict(swapped(labels(axes)) if horizontal else labels(axes), elements=elements)


def of_boxes(axes):
    elements, horizontal = axes.boxes()
    return dict(swapped(labels(axes)) if horizontal else labels(axes), elements=elements)


def swapped(fields):
    return {("y" if name[0] == "x" else "x") + name[1:]: value for name, value in fields.items()}


FIELDS = {
    "line": of_points(Axes.lines), "scatter": of_points(Axes.groups), "bar": of_bars,
    "pie": lambda axes: {"elements": axes.wedges()}, "box_and_whisker": of_boxes,
}
