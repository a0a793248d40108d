// Package process has the processes that Kaa's Python runs in, as the kernel knows them:
//
//	spawn.go, reaper.go   starts zygotes, and ends what executions leave behind
//	link.go               the sockets to zygotes and slots, and their messages
//	channels.go           the pipes and the socket between the runner and a worker
//	owners.go             the users that sandboxes belong to
//	private.go            directories that a process has for itself
//	python.go             finds an interpreter, and says in which environment it runs
//	usage.go              what processes use, as /proc has it
//	blame.go              finds out why a process could not be started
//
// It knows neither pools nor executions: the interpreter package does.
//
// What can fail: a process does not start. The error names a layer of the sandbox
// (LayerError) or another part (PartError), and what to change.
package process
