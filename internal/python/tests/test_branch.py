"""Tests of branch.py by itself. How a session is copied is in branch_test.go."""

import os
import tempfile
import unittest
from unittest import mock

import branch


class TreeTest(unittest.TestCase):
    def test_what_is_mounted_is_not_copied(self):
        with tempfile.TemporaryDirectory() as source, tempfile.TemporaryDirectory() as target:
            for directory in ("own", "mounted", "own/mounted"):
                os.mkdir(os.path.join(source, directory))
                with open(os.path.join(source, directory, "file"), "w") as file:
                    file.write("text")
            fds = [os.open(place, os.O_RDONLY | os.O_DIRECTORY) for place in (source, target)]
            with mock.patch("branch.os.stat", stat_with_mounts(os.stat)):
                branch.Tree(*fds).copy(fds[0], fds[1], "")
            for fd in fds:
                os.close(fd)
            self.assertEqual(os.listdir(target), ["own"])
            self.assertEqual(os.listdir(os.path.join(target, "own")), ["file"])


def stat_with_mounts(stat):
    """os.stat with other devices for what is named mounted: only root could mount some."""
    def patched(name, **arguments):
        found = stat(name, **arguments)
        fields = list(found)
        fields[2] += name == "mounted"
        return os.stat_result(fields, {"st_atime_ns": found.st_atime_ns, "st_mtime_ns": found.st_mtime_ns})
    return patched


if __name__ == "__main__":
    unittest.main()
