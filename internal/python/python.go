// Package python holds the Python scripts that zygotes, slots and workers execute, and
// nothing else: package interpreter writes them to disk and starts them. Their tests are
// in tests. pyproject.toml has the rules of the linter and of the type checker.
//
// start.py is what a zygote is started with. It loads the others from beside itself. They
// use the standard library only and run on Python 3.8 and later.
package python

import "embed"

// Start is the script that a zygote is started with.
const Start = "start.py"

// Scripts are all the scripts.
//
//go:embed *.py
var Scripts embed.FS
