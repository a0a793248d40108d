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

// Event is something that happened while a job was executed, as those see it who
// follow it live.
type Event struct {
	ID   EventID
	Type EventType
	// Size is what the event takes of its attempt's numbering: it begins at
	// ID.Seq - Size. For output these are the bytes that the code wrote.
	Size uint64
	// Data is a JSON object whose type is the event's. The event of an end has none in
	// the store: its reader makes it of the record.
	Data json.RawMessage
}

// EventType names what happened.
type EventType string

// The types of events.
const (
	EventStatus  EventType = "status"        // the job's state; the last one is terminal
	EventStream  EventType = "stream"        // output
	EventDisplay EventType = "display"       // something the code displayed
	EventResult  EventType = "result"        // the value of its last expression
	EventClear   EventType = "clear"         // it takes back what it has shown and written
	EventError   EventType = "error"         // the exception that ended it
	EventInput   EventType = "input_request" // it waits for input
	EventGap     EventType = "gap"           // events are missing here
)

// EventID is an event's place among those of its job: ids increase. Seq counts what
// the attempt has put out up to the event's end, so that a reader who knows one id
// can tell how much is missing before another.
type EventID struct {
	Attempt int
	Seq     uint64
}

// lastSeq is that of the event of a job's end: nothing can come after it.
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

// AttemptData is the data of the status with which each attempt begins.
type AttemptData struct {
	Type    EventType `json:"type"`
	State   State     `json:"state"`
	Attempt int       `json:"attempt"`
}

// ValueData is the data of what the code shows.
type ValueData struct {
	Type EventType `json:"type"`
	Value
}

// Event is the event of a value's being shown.
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
	Wait bool      `json:"wait"` // until there is something new
}

// ClearEvent is that of a clear_output.
func ClearEvent(wait bool) Event {
	return NewEvent(EventClear, ClearData{Type: EventClear, Wait: wait})
}

// ErrorData is the data of the exception that ended the code.
type ErrorData struct {
	Type EventType `json:"type"`
	Error
}

// InputData is the data of code's asking for a line of input.
type InputData struct {
	Type    EventType `json:"type"`
	Request int       `json:"request"` // from 1 on; an answer names it
	Prompt  string    `json:"prompt"`
}

// GapData is the data of what is missing.
type GapData struct {
	Type  EventType `json:"type"`
	Bytes uint64    `json:"bytes"`
}

// NewEvent returns an event without an id, of data that JSON can hold.
func NewEvent(t EventType, data any) Event {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // nobody puts it into a page as it is
	if err := e.Encode(data); err != nil {
		panic(err) // our own types can be encoded
	}
	line := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	return Event{Type: t, Size: uint64(len(line)), Data: line}
}
