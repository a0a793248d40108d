"""Kaa's display(), for code that was written for a notebook.

It is a builtin. Code that imports it, and the classes that go with it, from IPython gets
IPython's if that is installed, with its display() replaced, and otherwise a stand-in.
matplotlib's show() shows as results do. None of this costs anything before it is imported.

Standard library only, Python 3.8 and later.
"""

import builtins

# See repl_worker.py.
__builtins__ = dict(vars(builtins))

import json
import os
import sys
import types
from importlib.machinery import ModuleSpec

SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))


class DisplayHandle:
    """What display(display_id=…) returns. There is no page on which to replace anything."""

    def __init__(self, display, display_id):
        self._display = display
        self.display_id = display_id

    def display(self, obj, **more):
        self._display(obj, **more)

    update = display


class DisplayObject:
    """Data of one kind, from a string, bytes or a file."""

    method = None  # the name of what gives it

    def __init__(self, data=None, url=None, filename=None, metadata=None, **more):
        if data is not None and filename is None and isinstance(data, (str, os.PathLike)) and self.is_file(data):
            data, filename = None, data
        if filename is not None:
            with open(filename, "rb") as file:
                data = file.read()
            if not self.binary:
                data = data.decode()
        self.data, self.url, self.filename, self.metadata = data, url, filename, metadata or {}

    binary = False

    def is_file(self, data):
        return isinstance(data, os.PathLike)

    def __repr__(self):
        return "<IPython.core.display.%s object>" % type(self).__name__


class HTML(DisplayObject):
    def _repr_html_(self):
        return self.data


class Markdown(DisplayObject):
    def _repr_markdown_(self):
        return self.data


class SVG(DisplayObject):
    def is_file(self, data):
        return isinstance(data, os.PathLike) or "<" not in data

    def _repr_svg_(self):
        return self.data


class Latex(DisplayObject):
    def _repr_latex_(self):
        return self.data


class Math(Latex):
    def _repr_latex_(self):
        return "$\\displaystyle %s$" % self.data.strip("$")


class Javascript(DisplayObject):
    def _repr_javascript_(self):
        return self.data


class JSON(DisplayObject):
    def _repr_json_(self):
        return json.loads(self.data) if isinstance(self.data, str) else self.data


class Pretty(DisplayObject):
    def __repr__(self):
        return str(self.data)


class Image(DisplayObject):
    binary = True

    def is_file(self, data):
        return not isinstance(data, bytes)

    def __init__(self, data=None, url=None, filename=None, format=None, **more):
        if isinstance(data, str) and data.startswith(("http:", "https:", "data:")):
            data, url = None, data
        super().__init__(data, url, filename)

    def _repr_mimebundle_(self, include=None, exclude=None):
        if self.data is None:
            return {"text/html": '<img src="%s">' % self.url.replace('"', "&quot;")}
        for signature, mime in SIGNATURES:
            if self.data.startswith(signature):
                return {mime: self.data}
        return None


CLASSES = (DisplayObject, DisplayHandle, HTML, Markdown, SVG, Latex, Math, Javascript, JSON, Pretty, Image)
for _class in CLASSES:
    _class.__module__ = "IPython.core.display"


def make_display(results):
    """Return the display function."""

    def display(*objs, include=None, exclude=None, raw=False, display_id=None, **more):
        """Show objects as results of this execution, in all forms that they have."""
        only = None
        if include or exclude:
            def only(mime):
                return (not include or mime in include) and mime not in (exclude or ())
        for obj in objs:
            if raw:
                results.show_bundle(obj)
            else:
                results.show(obj, only=only)
        if display_id:
            return DisplayHandle(display, os.urandom(16).hex() if display_id is True else display_id)
        return None

    display.__module__ = "builtins"
    return display


class StandIn:
    """Finds the part of IPython that is about display. It comes last: after the real one."""

    def __init__(self, display):
        def publish_display_data(data, *args, **more):
            display(data, raw=True)

        def update_display(obj, *args, **more):
            display(obj)

        self.names = {cls.__name__: cls for cls in CLASSES}
        self.names.update(display=display, publish_display_data=publish_display_data, update_display=update_display,
                          clear_output=lambda wait=False: None)
        # Libraries ask for the version, and whether they are in a notebook.
        top = {"version_info": (8, 99, 0, ""), "__version__": "8.99.0", "get_ipython": lambda: None}
        self.modules = {"IPython": top, "IPython.core": {}}
        for name in "IPython.display", "IPython.core.display", "IPython.core.display_functions":
            self.modules[name] = self.names

    def find_spec(self, name, path=None, target=None):
        if name in self.modules:
            return ModuleSpec(name, self, is_package=name in ("IPython", "IPython.core"))
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__dict__.update(self.modules[module.__name__])


class Patcher:
    """Changes a few modules right after they were imported."""

    def __init__(self, patches):
        self.patches = patches

    def find_spec(self, name, path=None, target=None):
        patch = self.patches.get(name)
        if patch is None:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                self.extend(spec.loader, patch)
                return spec
        return None

    def extend(self, loader, patch):
        execute = getattr(loader, "exec_module", None)
        if execute is None or isinstance(loader, StandIn):
            return

        def exec_module(module):
            execute(module)
            try:
                patch(module)
            except Exception:  # another version's ways; then it is as it was
                pass

        try:
            loader.exec_module = exec_module
        except AttributeError:
            pass

    def patch_loaded(self):
        """Change what was preloaded."""
        for name, patch in self.patches.items():
            module = sys.modules.get(name)
            if isinstance(module, types.ModuleType):
                patch(module)


def install(results, more):
    """Let this process and its forks have all of it, and more patches by names of modules.
    Returns what to call after preloading."""
    display = make_display(results)
    builtins.display = display

    def patch_ipython(module):
        if hasattr(module, "display"):
            module.display = display

    def patch_pyplot(module):
        def show(*args, **more):
            """Show all open figures as results of this execution."""
            results.show_figures()

        module.show = show

    def patch_figure(module):
        def show(self, warn=True):
            """Show the figure as a result of this execution."""
            results.show(self)

        module.Figure.show = show

    patcher = Patcher({
        **more,
        "IPython.core.display_functions": patch_ipython, "IPython.core.display": patch_ipython, "IPython.display": patch_ipython,
        "matplotlib.pyplot": patch_pyplot, "matplotlib.figure": patch_figure,
    })
    sys.meta_path.insert(0, patcher)
    sys.meta_path.append(StandIn(display))
    return patcher.patch_loaded
