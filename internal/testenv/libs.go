package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// SystemPython is the system's interpreter, if there is one: that on the PATH may be a shim.
func SystemPython() string {
	const system = "/usr/bin/python3"
	if _, err := os.Stat(system); err == nil {
		return system
	}
	return "python3"
}

// LibsPython is an interpreter with numpy, pandas, matplotlib, Pillow, plotly, bokeh, IPython
// and the other libraries of test/requirements.txt: KAA_LIBS_PYTHON, or the one that
// scripts/setup has made in the checkout.
func LibsPython(tb testing.TB) string {
	tb.Helper()
	return libs(tb, "KAA_LIBS_PYTHON", "libs")
}

// LibsBarePython is an interpreter with the same libraries, but without IPython:
// KAA_LIBS_BARE_PYTHON, or the one that scripts/setup has made in the checkout.
func LibsBarePython(tb testing.TB) string {
	tb.Helper()
	return libs(tb, "KAA_LIBS_BARE_PYTHON", "libs-bare")
}

func libs(tb testing.TB, variable, name string) string {
	tb.Helper()
	python := os.Getenv(variable)
	if python == "" {
		python = filepath.Join(checkout(tb), ".cache", name, "bin", "python")
	}
	if _, err := exec.LookPath(python); err != nil {
		tb.Fatalf("testenv: no interpreter with the libraries of the tests: run scripts/setup, or set %s: %v", variable, err)
	}
	return python
}

// checkout is the directory of go.mod; tests run in the directory of their package.
func checkout(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatalf("testenv: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("testenv: no go.mod above the test's directory")
		}
		dir = parent
	}
}
