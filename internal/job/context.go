package job

import "time"

// MaxContexts is the number of contexts that a session may have beside its own interpreter.
const MaxContexts = 32

// DefaultContext is the id of the context that is the session's own interpreter.
const DefaultContext = "default"

// Operations on the contexts of a session: see Spec.Op.
const (
	OpMakeContext    = "context_make"
	OpListContexts   = "context_list"
	OpRestartContext = "context_restart"
	OpDeleteContext  = "context_delete"
)

// Context is an interpreter of a session.
type Context struct {
	ID string `json:"id"`
	// Cwd is the directory in which it has begun, as its owner gave it; empty is the work directory.
	Cwd string `json:"cwd,omitempty"`
	// Language is what a dialect calls the language of the context's code, which the dialect makes Python of; empty is Python.
	Language  string    `json:"language,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	// Busy: it executes something.
	Busy bool `json:"busy,omitempty"`
}

// ContextArgs name a context; Cwd and Language are for a new one.
type ContextArgs struct {
	ID       string `json:"id"`
	Cwd      string `json:"cwd,omitempty"`
	Language string `json:"language,omitempty"`
}

// LaneOfContext is the lane of a session in which the executions of a context are in order; "" is the default one.
func LaneOfContext(id string) string {
	if id == "" || id == DefaultContext {
		return LaneDefault
	}
	return id
}

// CheckCwd returns a *ValidationError for a text that cannot be a path.
func CheckCwd(cwd string) error {
	var v validation
	checkPath(&v, "cwd", cwd)
	if len(v.fields) > 0 {
		return &ValidationError{Fields: v.fields}
	}
	return nil
}

// inContext checks the context of a request, and returns the lane in which it waits.
func (r Request) inContext(v *validation) string {
	if r.ContextID != "" && r.SessionID == "" {
		v.add("contextId", "is for executions of a session; send sessionId, too")
	}
	return LaneOfContext(r.ContextID)
}
