"""Rehearsals: a parked worker uses preloaded libraries while processors are idle.

A forked process copies each page that it writes to, and Python writes to every object that it
uses. Large libraries touch so many pages, even for little, that most of the time of a
short program would go into that. So a parked worker takes some steps with them. They are
small, and it takes one only when the runner sends a request for it: a command never waits for more
than one.

A set of packages has other steps: each is the import of one of its modules. That is foreign code, so
only workers take these steps. A worker that fails one ends.

Another step leaves nothing: it is an expression, and its value is dropped. Some steps have a lasting
effect on first use, such as an import. The zygote has these effects by then, because it takes
all steps first.

Standard library only, Python 3.8 and later.
"""

import gc
import sys
import warnings

from prepared import prepared

ROUNDS = 8  # in the zygote: what the interpreter adapts, workers need not write to

# The names that a library's steps use, and the steps. On a worker's first go each takes about 1 ms,
# and 3 at most.
LIBRARIES = (
    ("numpy", """
import numpy as np
a = np.arange(1000.0).reshape(10, 100)
""", (
        "np.arange(1000.0).reshape(10, 100)",
        "a.sum(), a.mean(axis=0)",
        "a @ a.T, np.linalg.norm(a)",
        "np.array([1, 2, 3]) * 2, a[a > 1]",
        "str(a[:2, :2])",
    )),
    ("pandas", """
import pandas as pd
frame = pd.DataFrame({"a": ["x", "y"] * 50, "b": range(100), "c": [0.5] * 100})
""", (
        "pd.Series([1, 2])",
        'pd.DataFrame({"b": range(100), "c": [0.5] * 100})',
        'pd.DataFrame({"a": ["x", "y"] * 50, "b": range(100)})',
        "frame.copy()",
        "frame.b * 2",
        "frame.assign(d=frame.b)",
        "frame.b > 3",
        "frame[frame.b > 3]",
        'frame.groupby("a")',
        'frame.groupby("a").c.mean()',
        'frame.groupby("a").c.mean().sum()',
        'frame.groupby("a").agg({"b": "mean"})',
        "str(frame.b.head(2))",
        "str(frame.head(2))",
        "frame.b.describe()",
        'frame.sort_values("b").iloc[0]',
        "pd.concat([frame, frame])",
    )),
    # Figures of their own: pyplot knows nothing of them. They show no text: matplotlib keeps a
    # font's file open, and workers have none of the zygote's descriptors.
    ("matplotlib.figure", """
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, ScalarFormatter
figure = Figure(figsize=(1, 1), dpi=20)
axes = figure.add_subplot()
axes.plot([1, 2], [3, 4])
axes.set_axis_off()
canvas = FigureCanvasAgg(figure)
canvas.draw()
pen = canvas.get_renderer()
""", (
        "Line2D([1, 2], [3, 4])",
        'Text(0, 0, "a")',
        "Rectangle((0, 0), 1, 1)",
        "MaxNLocator(5).tick_values(0, 10)",
        "ScalarFormatter()",
        "Figure()",
        "canvas.get_renderer()",
        "axes.patch.draw(pen)",
        "axes.lines[0].draw(pen)",
        'axes.spines["left"].draw(pen)',
        "axes.title.draw(pen)",
        "axes.get_xticklabels()",
        "axes.get_legend_handles_labels()",
        "type(axes.xaxis)(axes)",
    )),
    ("sklearn.linear_model", """
import numpy as np
from sklearn.linear_model import LinearRegression
points = np.arange(20.0).reshape(10, 2)
heights = np.arange(10.0)
model = LinearRegression().fit(points, heights)
""", (
        "LinearRegression()",
        "model.get_params()",
        "model.predict(points)",
        "repr(model)",
        "LinearRegression().fit(points, heights)",
        "model.score(points, heights)",
    )),
    ("sklearn.preprocessing", """
import numpy as np
from sklearn.preprocessing import StandardScaler
points = np.arange(20.0).reshape(10, 2)
""", (
        "StandardScaler().fit(points)",
        "StandardScaler().fit_transform(points)",
    )),
    ("sklearn.model_selection", """
import numpy as np
from sklearn.model_selection import train_test_split
points = np.arange(20.0).reshape(10, 2)
""", (
        "train_test_split(points, random_state=0)",
    )),
)


class Rehearsal:
    def __init__(self):
        self.steps = []  # (code, namespace), the next one last

    def prepare(self):
        """Take the steps of all loaded libraries, in the zygote, and keep those that this
        version of the library takes without an error or a warning."""
        steps = []
        for name, setup, sources in LIBRARIES:
            if name not in sys.modules:
                continue
            namespace = {}
            try:
                exec(compile(setup, "<rehearsal>", "exec", 0, True), namespace)
            except Exception:  # another version's ways; then it is only slower
                continue
            codes = [compile(source, "<rehearsal>", "eval", 0, True) for source in sources]
            steps += [(code, namespace) for code in codes if is_quiet(code, namespace)]
        for _ in range(ROUNDS):
            for code, namespace in steps:
                eval(code, namespace)
        self.steps = steps[::-1]

    def add_imports(self, names):
        """Have workers import modules of a set of packages."""
        self.steps += [(name, None) for name in reversed(names)]

    def step(self):
        """Take the next step, if there is one. Returns how many are left."""
        if self.steps:
            code, namespace = self.steps.pop()
            if namespace is None:
                import_quietly(code)
                return len(self.steps)
            try:
                eval(code, namespace)
            except Exception:  # such as for want of memory
                pass
        return len(self.steps)


def import_quietly(name):
    """Import a module. Its output is dropped: no execution has begun."""
    prepared.marks.rehearse(True)
    try:
        __import__(name)
        gc.freeze()  # else the end of the execution would look through all of it
    finally:
        prepared.marks.rehearse(False)


def is_quiet(code, namespace):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            eval(code, namespace)
        except Exception:
            return False
    return True
