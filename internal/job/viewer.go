package job

// Viewer is a caller that wants to see jobs, or to act on them.
type Viewer struct {
	Caller string // empty if the caller had no key
	All    bool   // an operator: sees the jobs of all callers
}

// Sees reports whether a job exists for the viewer. Executions of a session are as private as
// the session.
func (v Viewer) Sees(j Job) bool { return !j.InSession || v.Owns(j.Owner) }

// Owns reports whether private data of an owner exist for the viewer.
func (v Viewer) Owns(owner string) bool { return v.All || v.Caller == owner }

// PrivateGoneError is an ErrGone of a job that only its owner may know of.
type PrivateGoneError struct{ Owner string }

func (*PrivateGoneError) Error() string { return ErrGone.Error() }

// Is makes it an ErrGone.
func (*PrivateGoneError) Is(target error) bool { return target == ErrGone }
