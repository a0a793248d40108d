"""Kaa's display(), for code that was written for a notebook.

display() is a builtin. Code may import it, and the classes that go with it, from IPython. If
IPython is installed, its display() is replaced. Otherwise the code gets a stand-in. The show()
methods of matplotlib, Pillow and plotly show results. Nothing of this costs anything before it
is imported.

Standard library only, Python 3.8 and later.
"""

import builtins
import os
import sys
import types
from importlib.machinery import ModuleSpec, PathFinder

from start import BUILTINS, load

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

MAX_ID = 200  # characters


class DisplayHandle:
    """The return value of display(display_id=…). It shows other objects in the same place."""

    def __init__(self, display_id=None):
        self.display_id = new_id() if display_id is None else display_id

    def __repr__(self):
        return "<DisplayHandle display_id=%s>" % self.display_id

    def display(self, obj, **more):
        functions["display"](obj, display_id=self.display_id, **more)

    def update(self, obj, **more):
        functions["update_display"](obj, display_id=self.display_id, **more)


DisplayHandle.__module__ = "IPython.core.display_functions"
functions: dict = {"DisplayHandle": DisplayHandle}  # IPython's functions that show, by name


def new_id():
    return os.urandom(16).hex()


def make_functions(results):
    """Make display and the other functions that show."""

    def display(*objs, include=None, exclude=None, metadata=None, transient=None, display_id=None, raw=False, clear=False,
                update=False, **more):
        """Show objects as results of this execution, in all forms that they have."""
        if display_id is True:
            display_id = new_id()
        place = display_id or (transient or {}).get("display_id")
        if update and not place:
            raise TypeError("display_id required for update_display")
        place = str(place)[:MAX_ID] if place else None
        only = None
        if include or exclude:
            def only(mime):
                return (not include or mime in include) and mime not in (exclude or ())
        if clear:
            results.clear(wait=True)
        if not objs and display_id:
            objs, raw = ({},), True  # a place for later results
        for obj in objs:
            if raw:
                results.show_bundle(obj, metadata, id=place, update=update)
            else:
                results.show(obj, only=only, metadata=metadata, id=place, update=update)
        return functions["DisplayHandle"](display_id) if display_id else None

    def update_display(obj, *, display_id, **more):
        """Show an object in the place of the result with that id."""
        display(obj, display_id=display_id, **dict(more, update=True))

    def publish_display_data(data, metadata=None, source=None, *, transient=None, **more):
        """Show forms that are given by MIME type."""
        display(data, metadata=metadata, transient=transient, raw=True, update=more.get("update", False))

    def clear_output(wait=False):
        """Remove the results of this execution; with wait, when the next result comes."""
        results.clear(bool(wait))

    display.__module__ = "builtins"
    functions.update(display=display, update_display=update_display, publish_display_data=publish_display_data, clear_output=clear_output)
    for name in "set_matplotlib_formats", "set_matplotlib_close":
        functions[name] = make_setting(results, name)


def make_setting(results, name):
    def setting(*values, **more):
        """Choose the formats of figures: png, svg. Others, and whether figures are closed, change nothing."""
        formats = [value for value in values if value in ("png", "svg")]
        if formats:
            results.figure_formats = formats

    setting.__name__ = setting.__qualname__ = name
    return setting


class StandIn:
    """Finds the part of IPython that is about display. It is the last finder, after the real one's."""

    PACKAGES = ("IPython", "IPython.core", "IPython.lib")
    MODULES = PACKAGES + ("IPython.display", "IPython.core.display", "IPython.core.display_functions", "IPython.lib.display",
                          "IPython.core.getipython")

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self, is_package=name in self.PACKAGES) if name in self.MODULES else None  # type: ignore[arg-type]

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__dict__.update(load("standin").modules(functions)[module.__name__])
        if module.__name__ == "IPython":
            for name in self.MODULES[1:]:
                __import__(name)


class Patcher:
    """Changes a few modules right after their import, and prepares files that some look for."""

    def __init__(self, patches, name, prepare):
        self.patches = patches
        self.name, self.prepare = name, prepare  # a module that is put where the finders look
        self.preparations = {"matplotlib.font_manager": lambda: load("fonts").put()}  # for modules with a patch

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            self.prepare()
        patch = self.patches.get(name)
        if patch is None:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                self.extend(spec.loader, patch, self.preparations.get(name))
                return spec
        return None

    def extend(self, loader, patch, preparation):
        execute = getattr(loader, "exec_module", None)
        if execute is None or isinstance(loader, StandIn):
            return

        def exec_module(module):
            try:
                if preparation is not None:
                    preparation()
            except Exception:  # the module works without it
                pass
            execute(module)
            try:
                patch(module)
            except Exception:  # another version of the library differs; it stays unchanged
                pass

        try:
            loader.exec_module = exec_module
        except AttributeError:
            pass

    def patch_loaded(self):
        """Change the modules that were preloaded."""
        for name, patch in self.patches.items():
            module = sys.modules.get(name)
            if isinstance(module, types.ModuleType):
                patch(module)


def install(results, more, name, prepare):
    """Install display(), the finders, and more patches by names of modules. prepare is called before the module of that name is
    looked for. Return the function to call after preloading."""
    make_functions(results)
    builtins.display = functions["display"]  # type: ignore[attr-defined]
    patcher = Patcher({**more, **patches(results)}, name, prepare)
    # Tracers and profilers are to count these functions as a part of importing.
    for find in Patcher.find_spec, StandIn.find_spec:
        find.__code__ = find.__code__.replace(co_filename=PathFinder.find_spec.__func__.__code__.co_filename)  # type: ignore[attr-defined]
    sys.meta_path.insert(0, patcher)
    sys.meta_path.append(StandIn())
    return patcher.patch_loaded


def patches(results):
    """Return the changes of modules, by their names."""

    def patch_ipython(module):
        # IPython's own functions would create a shell, with files in the working directory.
        functions["DisplayHandle"] = vars(module).get("DisplayHandle", functions["DisplayHandle"])
        vars(module).update({name: functions[name] for name in functions if name in vars(module)})

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

    def patch_image(module):
        def show(self, title=None):
            """Show the image as a result of this execution."""
            results.show(self)

        module.Image.show = show

    def patch_image_show(module):
        def show(image, title=None, **options):
            """Show an image as a result of this execution."""
            results.show(image)
            return True

        module.show = show

    found = dict.fromkeys(("IPython.core.display_functions", "IPython.core.display", "IPython.display", "matplotlib_inline.backend_inline"), patch_ipython)
    found.update({
        "matplotlib.pyplot": patch_pyplot, "matplotlib.figure": patch_figure, "PIL.Image": patch_image, "PIL.ImageShow": patch_image_show,
        "plotly.io._renderers": lambda module: load("plots").patch_plotly(module, results),
        "matplotlib.font_manager": lambda module: load("plots").patch_fonts(module),
    })
    return found
