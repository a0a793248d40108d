// Package python holds the Python scripts that zygotes, slots and workers execute. Package
// interpreter has them written to disk, and starts them. Their tests are
// in tests. pyproject.toml has the rules of the linter and of the type checker.
//
// A zygote is started with start.py, which loads the other scripts from beside itself. They
// use the standard library only and run on Python 3.8 and later. The scripts by subject:
//
//	processes    start, zygote, slot, slot_program, channel, memory, program, fonts, held
//	tools        tool (runs the installer of packages; a process of its own)
//	confinement  confinement, disk, kernel, landlock, limits, namespaces, network, places, proxy, root,
//	             seccomp, terminals
//	commands     commands, command_program, command_marks
//	forks        fork, fork_files, fork_group, fork_obstacles, fork_steps
//	worker       repl_worker (its protocol), control, prepared, differences, training, rehearsal
//	execution    script (a program), session, execution, interrupts, finalization
//	code         last_expression, event_loop, main_module, frames, errors
//	streams      streams, marks, flood, stdin, console
//	calls        calls, pending, offers (functions of the caller)
//	results      display, forms, budget, tables, pictures, charts, chart_elements
//	libraries    notebook (display and changes of libraries), standin, standin_base, standin_links, standin_media (for IPython), plots
package python

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
)

// Start is the script that a zygote is started with.
const Start = "start.py"

// Tool is the script that confines a program of the operator and then executes it.
const Tool = "tool.py"

// PackagesAt is where the code of a strict sandbox has its set of packages: see root.py.
const PackagesAt = "/packages"

//go:embed *.py
var scripts embed.FS

// Write writes all scripts into a directory.
func Write(dir string) error {
	entries, err := scripts.ReadDir(".")
	if err != nil {
		return fmt.Errorf("read scripts: %w", err)
	}
	for _, entry := range entries {
		text, err := scripts.ReadFile(entry.Name())
		if err != nil {
			return fmt.Errorf("read script: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, entry.Name()), text, 0o600); err != nil {
			return fmt.Errorf("write script: %w", err)
		}
	}
	writeCompiled(dir)
	return nil
}
