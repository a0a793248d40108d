// Package capture takes the output of an execution: stdout, stderr, and the values that it shows.
//
//	streams.go   copies the pipes; marks.go keeps their order with each other and with frames
//	journal.go   keeps all output in its order, for the result and for callers that watch later
//	output.go    keeps the beginning and the end of a stream, within a budget
//	results.go   keeps the values, within a budget
//
// All output comes from hostile code. Nothing here grows beyond its budget or waits for the code.
package capture
