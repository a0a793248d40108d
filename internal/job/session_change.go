package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// SessionChange is a change of a live session. A zero field keeps what it is about.
type SessionChange struct {
	IdleTimeout, MaxAge time.Duration
	EndsAt              time.Time     // the time that is set for its end
	EndsIn              time.Duration // the same, from now on
	NoEnd               bool          // no time is set for its end any more
	OnlyLater           bool          // the time that is set may only become a later one
	AtEnd               *PauseArgs    // of a pause at the end
	NoPause             bool          // it ends at its end
	Metadata            json.RawMessage
}

// SessionChangeRequest is a decoded request for a change. Its times are in seconds.
type SessionChangeRequest struct {
	IdleTimeout, MaxAge *float64
	EndsIn              *float64
	EndsAt              *time.Time
	NoEnd, OnlyLater    bool
	OnEnd               string // as in SessionRequest; empty keeps it
	AutoResume          bool
	Metadata            json.RawMessage
}

// AcceptSessionChange checks r against l and returns the change that it asks for.
func (l Limits) AcceptSessionChange(r SessionChangeRequest) (SessionChange, error) {
	var v validation
	c := SessionChange{
		IdleTimeout: v.seconds("idleTimeout", r.IdleTimeout, time.Second, l.Sessions.MaxIdleTimeout, 0),
		MaxAge:      v.seconds("maxAge", r.MaxAge, time.Second, l.Sessions.MaxAge, 0),
		NoEnd:       r.NoEnd, OnlyLater: r.OnlyLater, Metadata: l.metadata(&v, r.Metadata),
	}
	c.EndsIn, c.EndsAt = l.end(&v, r.EndsIn, r.EndsAt)
	c.AtEnd = l.atEnd(&v, r.OnEnd, r.AutoResume)
	c.NoPause = r.OnEnd == OnEndEnd
	if r.EndsIn != nil && r.NoEnd {
		v.add("endsIn", notBothEnds)
	}
	if r.OnlyLater && r.EndsIn == nil && r.EndsAt == nil {
		v.add("onlyLater", "is about endsAt and endsIn; send one of them with it")
	}
	if len(v.fields) > 0 {
		return SessionChange{}, &ValidationError{Fields: v.fields}
	}
	return c, nil
}

const notBothEnds = "cannot be combined with endsAt; send one of them"

// end checks the end that a request sets for a session, as seconds from now or as a time.
func (l Limits) end(v *validation, in *float64, at *time.Time) (endsIn time.Duration, endsAt time.Time) {
	endsIn = v.seconds("endsIn", in, time.Second, l.Sessions.MaxAge, 0)
	if at != nil {
		if endsAt = milliseconds(*at); endsAt.Unix() < 1 {
			v.add("endsAt", "is before 1970; send a time that is to come")
		}
	}
	if in != nil && at != nil {
		v.add("endsIn", notBothEnds)
	}
	return endsIn, endsAt
}

// TooLateError means that a session's maximum age does not allow the end that was asked for. It is an ErrInvalid.
type TooLateError struct{ Latest time.Time }

func (e *TooLateError) Error() string {
	return fmt.Sprintf("is later than maxAge of the session allows, which is %s; send a larger maxAge with it, or an earlier end", e.Latest.UTC().Format(time.RFC3339))
}

// Is makes every TooLateError an ErrInvalid.
func (e *TooLateError) Is(target error) bool { return target == ErrInvalid }

// MetadataMatch is a condition on the metadata of a session: the member has this value. A string is its
// characters; any other value is its JSON without spaces.
type MetadataMatch struct{ Name, Value string }

// SessionFilter selects a page of live sessions.
type SessionFilter struct {
	Viewer   Viewer
	States   []SessionState // empty means all
	Metadata []MetadataMatch
	Cursor   string
	Limit    int
}

// Narrows reports whether the filter leaves sessions out that the viewer may see.
func (f SessionFilter) Narrows() bool { return len(f.States) > 0 || len(f.Metadata) > 0 }

// Fits reports whether a session fits the conditions.
func (f SessionFilter) Fits(s Session) bool {
	if len(f.States) > 0 && !slices.Contains(f.States, s.State) {
		return false
	}
	return hasMembers(s.Metadata, f.Metadata)
}

// hasMembers reports whether metadata has all of some members.
func hasMembers(metadata json.RawMessage, all []MetadataMatch) bool {
	if len(all) == 0 {
		return true
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(metadata, &members) != nil {
		return false
	}
	for _, m := range all {
		value, ok := members[m.Name]
		if !ok || metadataText(value) != m.Value {
			return false
		}
	}
	return true
}

func metadataText(value json.RawMessage) string {
	var text string
	if bytes.HasPrefix(value, []byte(`"`)) && json.Unmarshal(value, &text) == nil {
		return text
	}
	var compact bytes.Buffer
	if json.Compact(&compact, value) != nil {
		return ""
	}
	return compact.String()
}

// PauseArgs are the arguments of a pause.
type PauseArgs struct {
	Most       time.Duration `json:"most"`                 // it ends after that
	MostPaused int           `json:"mostPaused,omitempty"` // sessions that the caller may have paused; 0 is no limit
	AutoResume bool          `json:"autoResume,omitempty"`
}

// AcceptPause checks for how many seconds a session is to be paused at most, and returns the arguments.
func (l Limits) AcceptPause(most *float64, autoResume bool) (PauseArgs, error) {
	var v validation
	a := PauseArgs{Most: v.seconds("maxPause", most, time.Second, l.Sessions.MaxPause, l.Sessions.MaxPause), MostPaused: l.Sessions.MaxPaused, AutoResume: autoResume}
	if len(v.fields) > 0 {
		return PauseArgs{}, &ValidationError{Fields: v.fields}
	}
	return a, nil
}
