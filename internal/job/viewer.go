package job

// Viewer is who wants to see jobs, or to do something with them.
type Viewer struct {
	Caller string // empty if nobody said who he is
	All    bool   // he may see everybody's
}

// Sees reports whether a job is there for the viewer. What a session executes is as private
// as the session.
func (v Viewer) Sees(j Job) bool { return !j.InSession || v.Owns(j.Owner) }

// Owns reports whether what is private to an owner is there for the viewer.
func (v Viewer) Owns(owner string) bool { return v.All || v.Caller == owner }

// PrivateGoneError is an ErrGone of what only its owner may know of.
type PrivateGoneError struct{ Owner string }

func (*PrivateGoneError) Error() string { return ErrGone.Error() }

// Is makes it an ErrGone.
func (*PrivateGoneError) Is(target error) bool { return target == ErrGone }
