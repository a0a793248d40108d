// Package protocol is the protocol between the runner and a worker on the worker's control
// socket. Its messages are lines of JSON: commands to the worker, frames from the worker.
// repl_worker.py and control.py implement the worker's side.
//
// Executed code can find the socket. So the package checks each frame and bounds its length
// before the runner uses it.
//
// Errors: ErrFrame is returned for a line that is not a frame. Only executed code sends one.
package protocol
