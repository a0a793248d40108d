"""Tests of charts.py: what figures of a real matplotlib become. They need an interpreter that has it."""

import datetime
import importlib.util
import json
import unittest

import charts
import forms

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


def line(label, *points):
    return {"label": label, "points": [list(point) for point in points]}


def bars(group, **values):
    return [{"label": label, "group": group, "value": value} for label, value in values.items()]


def box(label, low, first, median, third, high, *outliers):
    return {"label": label, "min": low, "first_quartile": first, "median": median, "third_quartile": third, "max": high, "outliers": list(outliers)}


BOXES = [[1, 2, 3, 4, 20], [2, 3, 4, 5, 6]]
DAY = datetime.date(2024, 1, 1)
NOON = datetime.datetime(2024, 1, 1, 12)
# Code that draws, the type of its chart, and some of its fields.
FIGURES = (
    ("plt.plot([1, 2], [4, 5], label='a'); plt.plot([1, 2], [6, 5]); plt.legend(); plt.grid(True); plt.title('T')", "line",
     {"title": "T", "elements": [line("a", (1, 4), (2, 5)), line("Line 1", (1, 6), (2, 5))], "x_scale": "linear"}),
    ("plt.plot([1, 2]); plt.xlabel('Time (s)'); plt.ylabel('V [mV]')", "line", {"x_label": "Time (s)", "x_unit": "s", "y_label": "V [mV]", "y_unit": "mV"}),
    ("plt.plot([1, 2])", "line", {"title": None, "x_label": None, "x_unit": None, "y_label": None, "y_unit": None}),
    ("plt.plot([1, 2, 3], [1, float('nan'), float('-inf')])", "line", {"elements": [line("Line 0", (1, 1), (2, None), (3, None))]}),
    ("plt.plot(np.ma.masked_array([1., 2.], [0, 1]))", "line", {"elements": [line("Line 0", (0, 1), (1, None))]}),
    ("plt.plot(np.float32([.5]), np.int8([1]), 'o')", "line", {"elements": [line("Line 0", (0.5, 1))]}),
    ("plt.plot([NOON], [1], 'o')", "line", {"elements": [line("Line 0", ("2024-01-01T12:00:00", 1))], "x_scale": "datetime", "y_scale": "linear"}),
    ("plt.plot([NOON.replace(tzinfo=UTC)], [1], 'o')", "line", {"elements": [line("Line 0", ("2024-01-01T12:00:00+00:00", 1))]}),
    ("plt.plot([NOON], [1], 'o'); plt.xticks([NOON])", "line", {"x_ticks": ["2024-01-01T12:00:00+00:00"]}),
    ("plt.plot(['a', 'b'], [1, 3])", "line", {"elements": [line("Line 0", ("a", 1), ("b", 3))], "x_ticks": [0, 1],
        "x_tick_labels": ["a", "b"], "x_scale": "categorical"}),
    ("plt.plot([1, 10], [1, 10]); plt.xscale('log'); plt.yscale('symlog')", "line", {"x_scale": "log", "y_scale": "symlog"}),
    ("plt.plot([1, 2]); plt.xticks([0, 1], ['p', 'q'])", "line", {"x_ticks": [0, 1], "x_tick_labels": ["p", "q"], "x_scale": "categorical"}),
    ("plt.plot([1, 5, 3]); plt.axhline(2); plt.axvline(1); plt.plot([0, 2], [3, 3])", "line", {"elements": [line("Line 0", (0, 1), (1, 5), (2, 3))]}),
    ("plt.plot([0, 1], [5, 5])", "line", {"elements": [line("Line 0", (0, 5), (1, 5))]}),
    ("plt.errorbar([1, 2], [3, 4], yerr=.1)", "line", {"elements": [line("Line 0", (1, 3), (2, 4))]}),
    ("plt.stem([3, 4])", "line", {"elements": [line("Line 0", (0, 3), (1, 4))]}),
    ("plt.plot([1, 2]); plt.fill_between([0, 1], [0, 1], [2, 3])", "line", {"elements": [line("Line 0", (0, 1), (1, 2))]}),
    ("plt.polar([0, 1], [1, 2])", "line", {"elements": [line("Line 0", (0, 1), (1, 2))]}),
    ("plt.scatter([1], [3], label='g'); plt.scatter([DAY.day], [5])", "scatter", {"elements": [line("g", (1, 3)), line("Group 1", (1, 5))]}),
    ("plt.colorbar(plt.scatter([1], [3], c=[1]))", "scatter", {"elements": [line("Group 0", (1, 3))]}),
    ("plt.scatter([DAY], [3])", "scatter", {"elements": [line("Group 0", ("2024-01-01T00:00:00", 3))], "x_scale": "datetime"}),
    ("plt.bar(['A', 'B'], [3, 4.5], yerr=1); plt.axhline(1); plt.xlabel('Author'); plt.ylabel('Books (n)')", "bar",
     {"elements": bars("Group 0", A=3, B=4.5), "x_label": "Author", "y_label": "Books (n)", "y_unit": "n", "x_unit": None}),
    ("plt.barh(['A', 'B'], [3, 4.5]); plt.xlabel('Books (n)'); plt.ylabel('Author')", "bar",
     {"elements": bars("Group 0", A=3, B=4.5), "x_label": "Author", "y_label": "Books (n)", "y_unit": "n", "x_unit": None}),
    ("plt.bar([-.2, .8], [1, 2], .4, label='m'); plt.bar([.2, 1.2], [3, 4], .4, label='w'); plt.xticks([0, 1], ['p', 'q'])", "bar",
     {"elements": bars("m", p=1, q=2) + bars("w", p=3, q=4)}),
    ("plt.bar(['a'], [1], label='x'); plt.bar(['a'], [3], bottom=[1], label='y')", "bar", {"elements": bars("x", a=1) + bars("y", a=3)}),
    ("plt.hist([1, 1, 3], bins=[1, 2, 3.5])", "bar", {"elements": bars("Group 0", **{"1.5": 2, "2.75": 1})}),
    ("plt.pie([45, 55], labels=['P', 'Q'], autopct='%d%%')", "pie",
     {"elements": [{"label": "P", "angle": 162, "radius": 1}, {"label": "Q", "angle": 198, "radius": 1}]}),
    ("plt.boxplot(BOXES); plt.xticks([1, 2], ['A', 'B'])", "box_and_whisker", {"elements": [box("A", 1, 2, 3, 4, 4, 20), box("B", 2, 3, 4, 5, 6)]}),
    ("plt.boxplot(BOXES, patch_artist=True)", "box_and_whisker", {"elements": [box("1", 1, 2, 3, 4, 4, 20), box("2", 2, 3, 4, 5, 6)]}),
    ("plt.boxplot(BOXES, notch=True, showmeans=True)", "box_and_whisker", {"elements": [box("1", 1, 2, 3, 4, 4, 20), box("2", 2, 3, 4, 5, 6)]}),
    ("plt.boxplot(BOXES, vert=False); plt.xlabel('L (cm)')", "box_and_whisker",
     {"elements": [box("1", 1, 2, 3, 4, 4, 20), box("2", 2, 3, 4, 5, 6)], "y_label": "L (cm)", "y_unit": "cm"}),
    ("plt.boxplot([[1, 2, 3]], showcaps=False, showfliers=False)", "box_and_whisker", {"elements": [box("1", 1, 1.5, 2, 2.5, 3)]}),
    ("plt.gca().add_patch(plt.Circle((0, 0), 1)); plt.title('C')", "unknown", {"elements": [], "title": "C"}),
    ("plt.imshow(np.zeros((2, 2)))", "unknown", {"elements": []}),
    ("plt.contour(np.eye(3))", "unknown", {"elements": []}),
    ("plt.stackplot([1, 2], [1, 2])", "unknown", {"elements": []}),
    ("plt.bar([0, 1, 2], [1, 2, 3]); plt.plot([1, 3, 2])", "unknown", {"elements": []}),
    ("plt.figure().add_subplot(projection='3d').plot([1, 2], [1, 2], [1, 2])", "unknown", {"elements": []}),
)


@unittest.skipUnless(HAS_MATPLOTLIB, "needs matplotlib")
class ChartsTest(unittest.TestCase):
    def drawn(self, code):
        """Return what the figure of code shows."""
        import warnings

        import matplotlib
        import numpy

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        self.addCleanup(plt.close, "all")
        plt.close("all")
        shown = forms.Shown()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what newer versions call otherwise
            exec(code, {"plt": plt, "np": numpy, "DAY": DAY, "NOON": NOON, "UTC": datetime.timezone.utc, "BOXES": BOXES})
            charts.add(shown, plt.gcf())
        return shown

    def chart(self, code):
        form = self.drawn(code).data.get(charts.CHART)
        return form and json.loads(form)

    def test_figures(self):
        for code, kind, fields in FIGURES:
            with self.subTest(code):
                chart = self.chart(code)
                self.assertEqual(chart["type"], kind)
                self.assertEqual({name: chart[name] for name in fields}, fields)

    def test_fields(self):
        plain = {"type", "title", "elements"}
        labels = {"x_label", "x_unit", "y_label", "y_unit"}
        ticks = {axis + name for axis in "xy" for name in ("_ticks", "_tick_labels", "_scale")}
        for code, fields in (("plot([1, 3])", plain | labels | ticks), ("scatter([1], [2])", plain | labels | ticks), ("bar([1], [2])", plain | labels),
                             ("boxplot(BOXES)", plain | labels), ("pie([1])", plain), ("imshow([[1]])", plain)):
            with self.subTest(code):
                self.assertEqual(set(self.chart("plt." + code)), fields)

    def test_several_axes(self):
        two = "f, (a, b) = plt.subplots(1, 2); f.suptitle('S'); a.plot([1, 2]); "
        chart = self.chart(two + "b.scatter([1], [2])")
        self.assertEqual((chart["type"], chart["title"], [one["type"] for one in chart["elements"]]), ("superchart", "S", ["line", "scatter"]))
        self.assertEqual(set(chart), {"type", "title", "elements"})
        self.assertEqual(self.chart(two)["type"], "line")  # the other axes are empty
        self.assertEqual(self.chart("a = plt.gca(); a.plot([1, 2]); a.twinx().bar([1], [2])")["type"], "superchart")

    def test_nothing_to_show(self):
        for code in ("plt.figure()", "plt.subplots()", "plt.gcf().text(.5, .5, 'x')"):
            with self.subTest(code):
                self.assertIsNone(self.chart(code))

    def test_too_large(self):
        shown = self.drawn("plt.plot(np.arange(1000000))")
        self.assertEqual((shown.data, shown.left_out), ({}, {charts.CHART: 40000000}))
        shown = self.drawn("for _ in range(5001): plt.gca().add_artist(plt.Line2D([0, 1], [0, 1]))")
        self.assertIn(charts.CHART, shown.left_out)
        shown = self.drawn("plt.plot([1, 2]); plt.gca().set_xticks(range(1001))")
        self.assertIn(charts.CHART, shown.left_out)

    def test_hostile(self):
        fails = "class E(BaseException): pass\ndef fail(*a, **k): raise E\na = plt.gca(); a.plot([1, 3])\n"
        for code in ("a.get_title = fail", "a.xaxis.get_majorticklocs = fail", "a.lines[0].get_label = fail", "a.get_xlabel = lambda: 5",
                     "a.xaxis.get_converter = fail"):
            with self.subTest(code):
                self.assertIn(self.chart(fails + code)["type"], ("unknown", "line"))
        for code in ("plt.gcf().__class__ = type('F', (type(plt.gcf()),), {'axes': property(fail)})", "a.get_label = fail"):
            with self.subTest(code):
                self.assertIsNone(self.chart(fails + code))
        with self.assertRaises(KeyboardInterrupt):
            self.drawn("def stop(): raise KeyboardInterrupt\na = plt.gca(); a.plot([1]); a.get_xlabel = stop")
        for figure in (None, 5, object()):
            shown = forms.Shown()
            charts.add(shown, figure)
            self.assertEqual(shown.data, {})

    def test_long_texts_are_cut(self):
        chart = self.chart("plt.plot([1, 2], label='l' * 10**6); plt.title('t' * 10**6)")
        self.assertLess(len(chart["title"]) + len(chart["elements"][0]["label"]), 2200)


if __name__ == "__main__":
    unittest.main()
