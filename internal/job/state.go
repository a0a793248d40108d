package job

import "slices"

// State is a state in a job's life.
type State string

// The states. Completed, Cancelled and Failed are terminal.
const (
	Scheduled State = "scheduled" // accepted, not due yet
	Queued    State = "queued"    // waiting for a runner
	Running   State = "running"   // claimed by a runner; its code may have started
	Completed State = "completed" // the code ran; the result shows its outcome
	Cancelled State = "cancelled" // ended because its owner cancelled it
	Failed    State = "failed"    // ended because of Kaa, not of the code
)

// States lists every state in the order of a job's life.
func States() []State {
	return []State{Scheduled, Queued, Running, Completed, Cancelled, Failed}
}

// Valid reports whether s is one of the states.
func (s State) Valid() bool { return slices.Contains(States(), s) }

// Terminal reports whether a job in s will never move again. The exhaustive linter makes a new
// state fail here until that is decided.
func (s State) Terminal() bool {
	switch s {
	case Completed, Cancelled, Failed:
		return true
	case Scheduled, Queued, Running, BatchRefused: // no job has the last one
	}
	return false
}

// Wait is the reason why a job does not run yet.
type Wait string

// The reasons for which jobs wait.
const (
	WaitSession Wait = "session" // for the executions before it in its session
	WaitKey     Wait = "key"     // for other jobs of its API key, which has its share, or for those before it
	WaitSlot    Wait = "slot"    // for a free slot of a runner that takes its queue
	WaitRunner  Wait = "runner"  // for a runner that takes its queue
	WaitPaused  Wait = "paused"  // for an operator to resume its queue
	WaitBatch   Wait = "batch"   // for the end of a batch; it is not queued yet
	// WaitPackages: its packages are being installed.
	WaitPackages Wait = "packages"
)

// Words follow "it waits for" in messages.
func (w Wait) Words() string {
	switch w {
	case WaitSession:
		return "earlier executions of its session"
	case WaitKey:
		return "other jobs of its API key"
	case WaitRunner:
		return "a runner that takes jobs of its queue"
	case WaitPaused:
		return "its queue, which is paused"
	case WaitBatch:
		return "the end of a batch"
	case WaitPackages:
		return "its packages, which are being installed"
	case WaitSlot:
	}
	return "a free slot of a runner"
}
