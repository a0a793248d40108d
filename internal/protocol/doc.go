// Package protocol is what the runner and a worker say to each other over the worker's
// control socket, in lines of JSON: commands to the worker, frames from it. repl_worker.py
// has the other side.
//
// Executed code can find the socket. So a frame is checked, and its length bounded, before
// anything is made of it.
//
// What can fail: a line is not a frame (ErrFrame), which executed code has sent then.
package protocol
