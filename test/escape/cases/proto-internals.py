# tries: turn the worker's own code against the runner: replaced builtins, patched modules, changed outcome
# strict: it lies about itself only
# basic: it lies about itself only
# end: any
# timeout: 3
# unsandboxed: held because it hurts itself only

import builtins
import gc

frame = sys._getframe()
while frame:
    for name, value in list(frame.f_globals.items()):
        if callable(value) and frame.f_globals is not globals() and not name.startswith("__"):
            frame.f_globals[name] = lambda *a, **k: 1 / 0
    frame = frame.f_back
for thing in gc.get_objects():
    if type(thing).__name__ in ("Control", "Interrupts", "Describer", "Outcome"):
        for name in list(vars(thing)):
            try:
                setattr(thing, name, None)
            except Exception:
                pass
for name in ("len", "print", "BaseException", "getattr", "isinstance"):
    setattr(builtins, name, None)
os._exit = os.write = None
