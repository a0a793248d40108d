package job

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// Event is one event of an execution, as its followers see it.
type Event struct {
	ID   EventID
	Type EventType
	// Size is the event's part of its attempt's numbering: it begins at ID.Seq - Size. For
	// output these are the bytes that the code wrote.
	Size uint64
	// Data is a JSON object whose type is the event's. The event of an end has none in the
	// store: its reader makes it from the record.
	Data json.RawMessage
}

// EventType is the kind of an event.
type EventType string

// The types of events.
const (
	EventStatus  EventType = "status"        // the job's state; the last one is terminal
	EventStream  EventType = "stream"        // output
	EventDisplay EventType = "display"       // the code displayed a value
	EventResult  EventType = "result"        // the value of its last expression
	EventClear   EventType = "clear"         // the code clears its values and output
	EventError   EventType = "error"         // the exception that ended it
	EventInput   EventType = "input_request" // the code waits for input
	EventCall    EventType = "call"          // the code calls a function of its caller
	EventCallEnd EventType = "call_end"      // such a call has ended without an answer
	EventCase    EventType = "case"          // a case of a program has ended
	EventGap     EventType = "gap"           // events are missing here
)

// EventID is an event's place among those of its job. Ids increase. Seq counts the bytes that
// the attempt has put out up to the event's end. So a reader that knows one id can compute how
// many are missing before another.
type EventID struct {
	Attempt int
	Seq     uint64
}

// lastSeq is the Seq of the event of a job's end: no event can come after it.
const lastSeq = math.MaxUint64

// EndID is the id of the event with which a job ends in that attempt.
func EndID(attempt int) EventID { return EventID{attempt, lastSeq} }

// Ends reports whether it is the id of a job's last event.
func (id EventID) Ends() bool { return id.Seq == lastSeq }

// Compare orders ids by age.
func (id EventID) Compare(other EventID) int {
	return cmp.Or(cmp.Compare(id.Attempt, other.Attempt), cmp.Compare(id.Seq, other.Seq))
}

func (id EventID) String() string {
	return strconv.Itoa(id.Attempt) + "-" + strconv.FormatUint(id.Seq, 10)
}

var errEventID = errors.New("is not the id of an event; send one as it came")

// ParseEventID reads what String wrote.
func ParseEventID(s string) (EventID, error) {
	attempt, seq, ok := strings.Cut(s, "-")
	a, errA := strconv.ParseUint(attempt, 10, 31)
	q, errS := strconv.ParseUint(seq, 10, 64)
	if !ok || errA != nil || errS != nil {
		return EventID{}, errEventID
	}
	return EventID{int(a), q}, nil
}

// StreamData is the data of output.
type StreamData struct {
	Type   EventType `json:"type"`
	Stream string    `json:"stream"` // stdout, stderr
	Text   string    `json:"text"`
}

// AttemptData is the data of the status that begins each attempt.
type AttemptData struct {
	Type    EventType `json:"type"`
	State   State     `json:"state"`
	Attempt int       `json:"attempt"`
}

// ValueData is the data of a value that the code shows.
type ValueData struct {
	Type EventType `json:"type"`
	Value
}

// Event is the event that shows the value.
func (v Value) Event() Event {
	t := EventDisplay
	if v.Main {
		t = EventResult
	}
	return NewEvent(t, ValueData{Type: t, Value: v})
}

// ClearData is the data of a clear_output.
type ClearData struct {
	Type EventType `json:"type"`
	Wait bool      `json:"wait"` // clear with the next output
}

// ClearEvent is the event of a clear_output.
func ClearEvent(wait bool) Event {
	return NewEvent(EventClear, ClearData{Type: EventClear, Wait: wait})
}

// ErrorData is the data of the exception that ended the code.
type ErrorData struct {
	Type EventType `json:"type"`
	Error
}

// InputData is the data of a request of the code for a line of input.
type InputData struct {
	Type    EventType `json:"type"`
	Request int       `json:"request"` // from 1 on; an answer names it
	Prompt  string    `json:"prompt"`
}

// GapData is the data of a gap.
type GapData struct {
	Type  EventType `json:"type"`
	Bytes uint64    `json:"bytes"`
	// Event is the type of the one event that is missing because it alone was too large; else it is empty.
	Event EventType `json:"event,omitempty"`
}

// NewEvent returns an event without an id. JSON must be able to hold the data.
func NewEvent(t EventType, data any) Event {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // no page embeds it without escaping
	if err := e.Encode(data); err != nil {
		panic(err) // Kaa's own types can be encoded
	}
	line := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	return Event{Type: t, Size: uint64(len(line)), Data: line}
}
