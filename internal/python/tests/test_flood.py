"""Tests of the buffer for standard output while lines come fast."""

import io
import os
import threading
import unittest

from marks import Marks
from streams import Flood, Raw


class Held(Raw):
    """Standard output whose thread is held up after the text layer has given it what it had."""

    def __init__(self, fd, marks):
        super().__init__(fd, "<stdout>", marks)
        self.main = threading.get_ident()
        self.taken, self.may_write = threading.Event(), threading.Event()

    def write(self, data):
        if threading.get_ident() != self.main and data:
            self.taken.set()
            self.may_write.wait()
        return super().write(data)


class FloodTest(unittest.TestCase):
    def setUp(self):
        self.read_end, self.write_end = os.pipe()
        self.marks = Marks(threading.RLock())
        self.raw = Held(self.write_end, self.marks)
        self.stream = io.TextIOWrapper(self.raw, encoding="utf-8", newline="\n", line_buffering=True)
        self.marks.streams, self.marks.raws = (self.stream, io.StringIO()), (self.raw, None)
        self.flood = self.marks.flood = self.raw.flood = Flood(self.raw, self.stream)
        self.flood.start()
        self.addCleanup(os.close, self.read_end)
        self.addCleanup(os.close, self.write_end)
        self.addCleanup(self.flood.ended.acquire)
        self.addCleanup(self.flood.stop)
        self.addCleanup(self.raw.may_write.set)

    def take(self, text):
        """Print a text, and wait until the thread has taken it."""
        self.stream.write(text)
        self.assertTrue(self.raw.taken.wait(60))

    def soon(self):
        """Let the thread write, later than the caller of this waits for it."""
        timer = threading.Timer(0.3, self.raw.may_write.set)
        timer.start()
        self.addCleanup(timer.join)

    def read(self):
        return os.read(self.read_end, 1000)

    def test_a_mark_comes_after_what_the_thread_has_taken(self):
        self.take("taken\n")
        self.soon()
        self.marks.flush_own()
        os.write(self.write_end, b"mark\n")
        self.assertEqual(self.read(), b"taken\nmark\n")

    def test_the_other_stream_comes_after_it(self):
        self.take("taken\n")
        self.soon()
        self.marks.flush_other(None)
        os.write(self.write_end, b"error\n")
        self.assertEqual(self.read(), b"taken\nerror\n")

    def test_later_lines_come_after_it(self):
        self.take("taken\n")
        self.soon()
        self.stream.write("later\n")
        self.stream.flush()
        self.assertEqual(self.read(), b"taken\nlater\n")

    def test_the_end_waits_for_it(self):
        self.take("taken\n")
        self.stream.write("no line")
        self.soon()
        self.marks.calm()
        self.assertEqual(self.read(), b"taken\nno line")
        self.assertFalse(self.flood.is_on)
        self.assertTrue(self.stream.line_buffering)

    def test_a_handler_in_a_write_does_not_wait_for_it(self):
        self.flood.LONGEST_WAIT = 600
        with self.flood.writing:
            self.flood.stop()  # the thread may wait for the lock
        self.flood.LONGEST_WAIT = 60

    def test_a_fork_has_neither_the_thread_nor_its_lock(self):
        self.take("taken\n")
        self.flood.leave()
        self.stream.write("of the child\n")
        self.assertEqual(self.read(), b"of the child\n")


if __name__ == "__main__":
    unittest.main()
