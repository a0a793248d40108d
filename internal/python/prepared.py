"""The state that the zygote prepares for all its workers.

Standard library only, Python 3.8 and later.
"""

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py


TYPE_CHECKING = False  # a type checker takes it for true; the module typing would be in all workers
if TYPE_CHECKING:
    import threading
    from typing import Any, Callable, Iterable, Optional

    from console import Console
    from control import Control
    from display import Results
    from interrupts import Interrupts
    from marks import Marks


class Prepared:
    enter: "Callable[..., Any]"  # calls the code without Kaa's frames below it
    excepthook: "Callable[..., Any]"  # Kaa's, or Python's own
    control: "Control"
    interrupts: "Interrupts"
    marks: "Marks"
    results: "Results"
    console: "Console"
    patch_preloaded: "Callable[[], None]"
    flush_libc: "Callable[[], object]"
    main_thread: "threading.Thread"
    ready: bytes  # the frame that a worker sends when it is parked
    home: "Optional[str]" = None  # the working directory at the start, if it is the same for all workers
    # The size of an empty working directory, if the size shows whether it is empty. is_empty
    # returns 0 if home has this size.
    empty_size: "Optional[int]" = None
    is_empty: "Optional[Callable[[], int]]" = None
    differences: "Iterable[Callable[[], object]]" = ()  # the steps that differ takes


prepared = Prepared()
