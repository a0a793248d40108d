"""The event loop of code that awaits outside of functions.

Standard library only, Python 3.8 and later.
"""

import types
from functools import partial

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py


class Loop:
    """The event loop for await outside of functions. It lives as long as the namespace."""

    def __init__(self, enter):
        self.loop, self.enter = None, enter
        self.is_offered = False  # to code that does not await: see session.py

    def is_open(self):
        return self.loop is not None

    def get(self):
        """Return the loop, after it was made the one of this thread."""
        import asyncio

        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        return self.loop

    def step(self):
        """Run the tasks that wait for nothing, once."""
        import asyncio

        if not self.loop.is_closed() and asyncio.all_tasks(self.loop):
            self.enter(partial(self.loop.run_until_complete, asyncio.sleep(0)))

    def run(self, coroutine):
        task = self.get().create_task(coroutine)
        waiting = None
        try:
            return self.enter(partial(self.loop.run_until_complete, task))
        except BaseException as error:
            if not task.done():
                waiting = trace_of(coroutine)
                if waiting is not None:
                    raise error.with_traceback(waiting)
            raise
        finally:
            if not task.done():  # interrupted; it must not continue in the next execution
                self.cancel([task])

    def cancel(self, tasks):
        import asyncio

        for task in tasks:
            task.cancel()

        async def settle():
            await asyncio.gather(*tasks, return_exceptions=True)

        self.loop.run_until_complete(settle())

    def close(self):
        """Take the steps that asyncio.run takes at its end."""
        loop, self.loop = self.loop, None
        if loop is None or loop.is_closed():
            return
        import asyncio

        self.loop = loop
        try:
            tasks = asyncio.all_tasks(loop)
            if tasks:
                self.cancel(tasks)
            loop.run_until_complete(loop.shutdown_asyncgens())
            if hasattr(loop, "shutdown_default_executor"):  # Python 3.9
                loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            self.loop = None
            asyncio.set_event_loop(None)
            loop.close()


def trace_of(coroutine):
    """Return a traceback to the place where a coroutine waits. An interrupt is raised elsewhere."""
    frames = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        frames.append(frame)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    trace = None
    for frame in reversed(frames):
        trace = types.TracebackType(trace, frame, frame.f_lasti, frame.f_lineno)
    return trace
