"""Tests of how differences.py seeds numpy's generator. See test_repl_worker.py."""

import ctypes
import types
import unittest

import differences


class Generator:
    """Stands for numpy.random, with a state in memory, and says what it is."""

    def __init__(self, said=(), **more):
        self.words = (ctypes.c_uint32 * 625)(*range(625))
        self.said, self.more, self.seeds = said, more, 0
        place = types.SimpleNamespace(state_address=ctypes.addressof(self.words))
        self.mtrand = types.SimpleNamespace(_rand=types.SimpleNamespace(_bit_generator=types.SimpleNamespace(ctypes=place)))

    def seed(self):
        self.seeds += 1

    def get_state(self, legacy):
        words = list(self.said or self.words)
        return dict({"bit_generator": "MT19937", "has_gauss": 0, "state": {"key": words[:-1], "pos": words[-1]}}, **self.more)


class SeedTest(unittest.TestCase):
    def setUp(self):
        self.script = differences

    def test_the_state_is_replaced(self):
        numpy = Generator()
        seed = self.script.numpy_seed(numpy)
        self.assertNotEqual(seed, numpy.seed)
        before = list(numpy.words)
        seed()
        after = list(numpy.words)
        self.assertGreater(sum(a != b for a, b in zip(before[:624], after)), 600)
        self.assertEqual((before[624], after[624]), (624, 624))

    def test_what_is_not_as_expected_is_left_to_numpy(self):
        class Old:
            def seed(self):
                pass

        for other in Generator(said=[1] * 625), Generator(bit_generator="PCG64"), Generator(has_gauss=1), Old():
            with self.subTest(other=other):
                self.assertEqual(self.script.numpy_seed(other), other.seed)


if __name__ == "__main__":
    unittest.main()
