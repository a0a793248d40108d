"""Tests that the machine code is what an assembler makes of its source.

    cd internal/python && python3 -m unittest tests.test_assembly

It needs as and objcopy: GNU binutils.
"""

import os
import re
import subprocess
import tempfile
import unittest

import frames
import program


def source_of(module):
    return os.path.splitext(module.__file__)[0] + ".asm"


def assemble(source):
    with tempfile.TemporaryDirectory() as work:
        assembled, binary = [os.path.join(work, name) for name in ("code.o", "code.bin")]
        subprocess.run(["as", "--64", "-o", assembled, source], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", assembled, binary], check=True)
        with open(binary, "rb") as file:
            return file.read()


@unittest.skipIf(program.MACHINE != "x86_64", "there is machine code for x86-64 only")
class AssemblyTest(unittest.TestCase):
    def test_code(self):
        for module in program, frames:
            with self.subTest(module.__name__):
                self.assertEqual(module.CODE.hex(), assemble(source_of(module)).hex())

    def test_constants(self):
        """What the instructions compare with is what programs are made of."""
        with open(source_of(program)) as file:
            constants = dict(re.findall(r"\.equ\s+(\w+), (-\d+)$", file.read(), re.MULTILINE))
        self.assertEqual(len(constants), 9)
        for name, value in constants.items():
            self.assertEqual(getattr(program, name), int(value), name)


if __name__ == "__main__":
    unittest.main()
