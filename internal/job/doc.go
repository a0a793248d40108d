// Package job is the core of Kaa: what a job is, the states it moves through,
// what a request may ask for, and how an execution ends. It does no I/O and
// imports the standard library only; every other package imports it and none of
// each other.
//
// A job's states, and the moves between them:
//
//	scheduled ─▶ queued ─▶ running ─▶ completed   the code ran; Result says how it went
//	    │          │ ▲        │ │
//	    │          │ └────────┘ ├───▶ cancelled   the owner asked for it
//	    └──────────┴────────────┴───▶ failed      Kaa could not do it; Failure says why
//
// running → queued is the retry of an execution whose runner was lost; it
// happens only while attempts are left. The moves are carried out by one
// compare-and-set script each in internal/store; CanMove is the model those
// scripts are tested against.
package job
