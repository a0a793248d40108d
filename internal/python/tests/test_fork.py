"""Tests of fork_files.py by itself. fork_test.go tests forks of sessions."""

import os
import tempfile
import unittest
from unittest import mock

import fork_files


class MountsTest(unittest.TestCase):
    def setUp(self):
        self.places, self.fds = [], []
        for _ in range(2):
            place = tempfile.TemporaryDirectory()
            self.addCleanup(place.cleanup)
            self.places.append(place.name)
            self.fds.append(os.open(place.name, os.O_RDONLY | os.O_DIRECTORY))
            self.addCleanup(os.close, self.fds[-1])
        patch = mock.patch("fork_files.os.stat", stat_with_mounts(os.stat))
        patch.start()
        self.addCleanup(patch.stop)

    def fill(self, place):
        for directory in ("own", "mounted", "own/mounted", "other", "around"):
            os.mkdir(os.path.join(place, directory))
            with open(os.path.join(place, directory, "file"), "w") as file:
                file.write("text")

    def files(self, place):
        return sorted(os.path.relpath(os.path.join(at, name), place) for at, _, names in os.walk(place) for name in names)

    def test_what_is_mounted_is_not_copied(self):
        self.fill(self.places[0])
        fork_files.Tree(self.fds[0], self.fds[1]).copy(self.fds[0], self.fds[1], "")
        self.assertEqual(self.files(self.places[1]), ["other/file", "own/file"])

    def test_a_checkpoint_comes_back_to_where_things_are_mounted(self):
        for place in self.places:
            self.fill(place)
        self.assertFalse(fork_files.empty(self.fds[1]))
        self.assertEqual(self.files(self.places[1]), ["around/file", "mounted/file", "own/mounted/file"])
        self.assertFalse(os.path.exists(os.path.join(self.places[1], "other")))
        fork_files.Tree(self.fds[0], self.fds[1]).copy(self.fds[0], self.fds[1], "")
        self.assertEqual(self.files(self.places[1]), ["around/file", "mounted/file", "other/file", "own/file", "own/mounted/file"])


def stat_with_mounts(stat):
    """os.stat with other devices for entries named mounted, and another owner for a directory around
    mounts: only root could make them."""
    def patched(name, **arguments):
        found = stat(name, **arguments)
        fields = list(found)
        fields[2] += name == "mounted"
        fields[4] += name == "around"
        return os.stat_result(fields, {"st_atime_ns": found.st_atime_ns, "st_mtime_ns": found.st_mtime_ns})
    return patched


if __name__ == "__main__":
    unittest.main()
