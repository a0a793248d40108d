"""Tests of program.py: that the instructions and Python take the same steps.

    cd internal/python && python3 -m unittest
"""

import ctypes
import errno
import os
import unittest

import program

LAYER = "layer"


def words(*values):
    return (ctypes.c_int64 * len(values))(*values)


class ProgramTest(unittest.TestCase):
    def each(self):
        """A program that the machine carries out, and one that Python does."""
        run = program.native()
        if run is None:
            print("no instructions for", program.MACHINE)
        for native in ([run] if run else []) + [None]:
            with self.subTest(native=native is not None):
                yield program.Program(native)

    def test_all_steps(self):
        for p in self.each():
            reader, writer = os.pipe()
            data = ctypes.create_string_buffer(b"abc", 3)
            p.add(LAYER, "write", writer, data, 3, expect=3)
            p.add(LAYER, "close", writer)
            p.build()
            self.assertEqual(p.run(), 0)
            self.assertEqual((os.read(reader, 9), os.read(reader, 9)), (b"abc", b""))
            os.close(reader)

    def test_failure(self):
        for p in self.each():
            p.add(LAYER, "close", 12345, expect=program.MAY_FAIL)
            p.add(LAYER, "chdir", b"/nonexistent")
            p.add(LAYER, "close", 0)  # not reached
            p.build()
            for _ in range(2):
                code = p.run()
                self.assertLess(code, 0)
                layer, name, error = p.failure(code)
                self.assertEqual((layer, name, error.errno), (LAYER, "chdir", errno.ENOENT))
            os.fstat(0)

    def test_unexpected(self):
        for p in self.each():
            p.add(LAYER, "write", 1, None, 0, expect=7)
            p.build()
            self.assertEqual(str(p.failure(p.run())[2]), "unexpected result 0")

    def test_expected_error(self):
        for p in self.each():
            p.add(LAYER, "close", 12345, expect=-errno.EBADF)
            p.leave(5)
            p.build()
            self.assertEqual(p.run(), 5)

    def test_otherwise(self):
        for p in self.each():
            p.add(LAYER, "close", 12345, otherwise="other")
            p.leave(1)
            p.label("other")
            p.leave(2)
            p.build()
            self.assertEqual((p.run(), p.result()), (2, -errno.EBADF))
            self.assertEqual(p.run("other"), 2)

    def test_copy_changes_what_comes(self):
        for p in self.each():
            value, seen = words(0x12345), words(0)
            to_close, to_expect = program.Word(0, 1), program.Word(0, program.EXPECT)
            p.copy(to_close, value, 8)
            p.copy(to_expect, words(-errno.EBADF), 8)
            to_close.step = to_expect.step = p.add(LAYER, "close", 0)
            p.copy(seen, program.RESULT, 8)
            p.build()
            self.assertEqual((p.run(), seen[0]), (0, -errno.EBADF))
            os.fstat(0)

    def test_compare(self):
        for first, second, size, want in ((b"abcd", b"abcd", 4, 1), (b"abcd", b"abxd", 4, 2), (b"abcd", b"abxd", 2, 1),
                                          (b"a", b"b", 0, 1), (b"abcd", b"abce", 4, 2), (b"xbcd", b"abcd", 4, 2)):
            for p in self.each():
                p.same(first, second, size, "differs")
                p.leave(1)
                p.label("differs")
                p.leave(2)
                p.build()
                self.assertEqual(p.run(), want, (first, second, size))

    def test_sum_and_most(self):
        for total, largest, values in ((0, 0, ()), (7, 7, (7,)), (1 << 40, 1 << 40, (0, 1 << 40)), (15, 9, (5, 9, 1))):
            for p in self.each():
                seen = words(0, 0)
                for value in values:
                    source = words(value)
                    p.keep.append(source)
                    p.sum(ctypes.addressof(seen), source)
                    p.most(ctypes.addressof(seen) + 8, source)
                p.build()
                self.assertEqual((p.run(), list(seen)), (0, [total, largest]))
                # One number is taken over as it is.
                self.assertEqual(p.exposed, p.native is None and len(values) > 2)

    def test_jump_back(self):
        for p in self.each():
            counter, reader, writer = words(0), *os.pipe()
            os.write(writer, b"xxxxx")
            os.close(writer)
            p.label("again")
            p.add(LAYER, "read", reader, counter, 1, expect=1, otherwise="end")
            p.jump("again")
            p.label("end")
            p.leave(3)
            p.build()
            self.assertEqual((p.run(), p.result(), os.read(reader, 1)), (3, 0, b""))
            os.close(reader)

    def test_fork(self):
        SIGCHLD = 17
        for parent in (None, "parent"):
            for p in self.each():
                pid = words(0)
                p.add(LAYER, "clone", SIGCHLD, 0, 0, 0, 0, expect=program.FORK, otherwise=parent)
                p.leave(0)
                p.label("parent")
                p.copy(pid, program.RESULT, 8)
                p.leave(9)
                p.build()
                result = p.run()
                if result == 0:
                    os._exit(42)
                if parent is not None:
                    self.assertEqual(result, 9)
                    result = pid[0]
                self.assertEqual(os.waitpid(result, 0), (result, 42 << 8))

    def test_fork_that_fails(self):
        CLONE_THREAD_ALONE = 0x10000  # without what it needs
        for p in self.each():
            p.add(LAYER, "clone", CLONE_THREAD_ALONE, 0, 0, 0, 0, expect=program.FORK, otherwise="parent")
            p.leave(0)
            p.label("parent")
            p.leave(9)
            p.build()
            self.assertEqual(p.failure(p.run())[2].errno, errno.EINVAL)


if __name__ == "__main__":
    unittest.main()
