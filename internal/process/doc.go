// Package process manages the processes that Kaa's Python runs in, at the level of the kernel:
//
//	spawn.go, reaper.go   starts zygotes, and ends what executions leave behind
//	link.go               the sockets to zygotes and slots, and their messages
//	channels.go           the pipes and the socket between the runner and a worker
//	streams.go            the pipes and the terminals of commands
//	owners.go             the users that sandboxes belong to
//	private.go            directories that one process owns
//	python.go             finds an interpreter, and builds its environment
//	usage.go              memory and processor time of processes, from /proc
//	blame.go              finds out why a process did not start
//
// It knows neither pools nor executions: those belong to the interpreter package.
//
// Errors: a process may not start. The error then names a layer of the sandbox (LayerError) or
// another part (PartError), and the setting to change.
package process
