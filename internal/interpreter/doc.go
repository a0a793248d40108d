// Package interpreter runs Python code: it owns the Python processes, the pool
// that keeps some of them parked ahead of demand, the wire protocol to the
// scripts of package python, the capture of output and the kill ladder. The runner
// package calls it; it knows nothing of jobs, queues or Redis beyond the types
// of internal/job.
//
// A worker is a fork of a warm interpreter that serves one execution and ends:
//
//	zygote ─▶ slot ─▶ worker: parked ─▶ handed out (Acquire) ─▶ executing (Execute) ─▶ closed (Close)
//	                     └───────────────┴── ends or is killed at any point ──▶ closed
//
// Where to look:
//
//	pool.go, stock.go, worker.go      parks workers, hands them out, makes others
//	zygote.go, slot.go, rehearsal.go  the runner's side of zygotes and slots
//	execute.go, input.go, result.go   an execution, from its command to its result
//	limits.go, charge.go              the limits of an execution; sandbox has the control groups
//	files.go, script.go               the files of an execution
//	session.go, session_files.go, renew.go   consecutive executions in one interpreter
//	context.go                        other interpreters in a session's sandbox
//	fork.go, fork_group.go            forks of sessions
//
// Package process has the processes and sockets, protocol the frames, capture the output and
// workdir the files. The scripts of package python are the other side of the sockets.
//
// There is one zygote for each runtime, and one slot for each worker at a time: see zygote.py. A
// stock keeps the workers of one runtime parked. The Pool has all stocks.
//
// File descriptors 0 to 2 of a worker are pipes that belong to the code. The protocol has a
// socket of its own. The code shares its process with the worker script and can find that
// socket. So the runner does not trust frames in matters of time, output or end: Go alone
// decides those. An invalid frame ends the worker.
//
// Processes that the code starts are part of its execution. When the worker has ended, every
// process that descends from it is killed before the result is returned. reaper.go of package
// process describes how that works without a pid namespace. For that reason, other code of this
// process must not start children in sessions of their own (setsid): the reaper would take them
// for processes of an execution.
//
// Files come and go through a descriptor of the working directory: Put before Execute, Collect
// after it, when all processes have ended. The code controls the files in the directory: see
// tree.go of package workdir.
//
// Errors: New, Start and Acquire fail if Python is missing or does not start, or if a layer of the
// sandbox does not hold. Execute returns ErrClosed if the worker is closed meanwhile. Every effect
// of the code, including a crash of the interpreter, is a job.Result and no error.
package interpreter
