// Package capture takes what an execution puts out: both streams, and what it shows.
//
//	streams.go   copies the pipes; marks.go keeps their order with each other and with frames
//	journal.go   keeps all of it, in its order: for the result, and for those who watch later
//	output.go    keeps the beginning and the end of a stream, within a budget
//	results.go   keeps what is shown, within a budget
//
// All of it comes from hostile code. Nothing here grows beyond its budget or waits for the code.
package capture
