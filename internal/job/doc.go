// Package job is the core of Kaa: jobs and their states, requests and their
// limits, and the ends of executions. It does no I/O and imports the standard
// library only. Every other package may import it.
//
// A job's states, and the moves between them:
//
//	scheduled ─▶ queued ─▶ running ─▶ completed   the code ran; Result has its outcome
//	    │          │ ▲        │ │
//	    │          │ └────────┘ ├───▶ cancelled   the owner cancelled it
//	    └──────────┴────────────┴───▶ failed      Kaa could not do it; Failure says why
//
// running → queued is the retry of an execution whose runner was lost; it
// happens only while attempts are left. The moves are carried out by one
// compare-and-set script each in internal/store; package jobtest has the model that
// they are tested against.
package job
