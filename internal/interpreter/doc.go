// Package interpreter runs Python code: it owns the Python processes, the pool
// that keeps some of them parked ahead of demand, the wire protocol to the
// scripts of package python, the capture of output and the kill ladder. The runner
// package calls it; it knows nothing of jobs, queues or Redis beyond the types
// of internal/job.
//
// A worker is a fork of a warm interpreter that serves one execution and dies:
//
//	zygote ─▶ slot ─▶ worker: parked ─▶ lent (Acquire) ─▶ executing (Execute) ─▶ closed (Close)
//	                     └───────────────┴── dies or is killed at any point ──▶ closed
//
// Where to look:
//
//	pool.go, stock.go, worker.go      parked workers, lending them, making others
//	zygote.go, slot.go, rehearsal.go  the runner's side of zygotes and slots
//	execute.go, input.go, result.go   an execution, from its command to its result
//	limits.go, charge.go              what it may use; sandbox has the control groups
//	files.go, script.go               the files that come and go with it
//	session.go, session_files.go, renew.go   executions one after the other
//	fork.go, fork_group.go            copies of sessions
//
// Processes and sockets are package process, frames are protocol, output is capture, files
// are workdir, and the other side of it all is the scripts of python.
//
// There is a zygote per runtime, and a slot for each worker that there may be at
// once; zygote.py says what they do. A stock keeps the workers of one runtime
// parked, the Pool is all stocks.
//
// File descriptors 0 to 2 of a worker are pipes that belong to the code. The
// protocol has a socket of its own. The code shares its process with our script
// and can find that socket, so nothing that arrives there is believed in matters
// of time, output or end: Go alone decides those, and a frame that is not one
// ends the worker.
//
// What the code starts is part of its execution. When the worker has ended, every
// process that descends from it is killed before the result is returned: see
// reaper.go for what that takes where there is no pid namespace. It also means that
// other code of this process must not start children in sessions of their own
// (setsid): they would be taken for what an execution left behind.
//
// Files come and go by a descriptor of the working directory: Put before Execute, Collect
// after it, when all processes are gone. What is found there is the code's: see tree.go.
//
// What can fail: Python may not be there or not start, a layer of the sandbox may not
// hold here (New, Start, Acquire), a worker may be closed while it executes (Execute returns ErrClosed). Whatever
// the code does, including a crash of the interpreter, is a job.Result and no error.
package interpreter
