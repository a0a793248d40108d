package job

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// BatchMark says how a job of a batch ended. It outlives the record of the job.
type BatchMark byte

// The marks of jobs that have ended. The scripts of the store write them.
const (
	MarkOK          BatchMark = 'o'
	MarkError       BatchMark = 'e'
	MarkInterrupted BatchMark = 'i'
	MarkExit        BatchMark = 'x'
	MarkCancelled   BatchMark = 'c'
	MarkFailed      BatchMark = 'f'
	MarkUnfed       BatchMark = 'u' // cancelled before it had a record
	MarkLost        BatchMark = 'l' // failed, as its chunk was lost
	MarkRefused     BatchMark = 'r' // the line describes no job
)

// BatchRefused is the state of a line that describes no job. No job has it.
const BatchRefused State = "refused"

// State is the state in which the job ended; BatchRefused if there was none.
func (m BatchMark) State() State {
	switch m {
	case MarkOK, MarkError, MarkInterrupted, MarkExit:
		return Completed
	case MarkCancelled, MarkUnfed:
		return Cancelled
	case MarkFailed, MarkLost:
		return Failed
	case MarkRefused:
		return BatchRefused
	}
	return ""
}

// Status is that of a completed job; empty for others.
func (m BatchMark) Status() Status {
	switch m { //nolint:exhaustive // the others have none
	case MarkOK:
		return StatusOK
	case MarkError:
		return StatusError
	case MarkInterrupted:
		return StatusInterrupted
	case MarkExit:
		return StatusExit
	}
	return ""
}

// Failure is the reason of the end of a job that never had a record; nil for others.
func (m BatchMark) Failure() *Failure {
	switch m { //nolint:exhaustive // the others have none, or it is in the record
	case MarkUnfed:
		return &Failure{Code: FailCancelled, Message: "cancelled before it had started"}
	case MarkLost:
		return &Failure{Code: FailBatchLost, Message: "what the batch had of it was lost before it had started"}
	}
	return nil
}

// Recorded reports whether the job had a record when it ended.
func (m BatchMark) Recorded() bool { return m.State() != "" && m.Failure() == nil && m != MarkRefused }

// BatchMarks selects jobs by how they ended; the zero value selects all.
type BatchMarks string

// MarksOf selects the jobs that have one of the states or one of the statuses.
func MarksOf(states []State, statuses []Status) BatchMarks {
	var marks strings.Builder
	for _, m := range []BatchMark{MarkOK, MarkError, MarkInterrupted, MarkExit, MarkCancelled, MarkFailed, MarkUnfed, MarkLost, MarkRefused} {
		for _, s := range states {
			if m.State() == s {
				marks.WriteByte(byte(m))
			}
		}
		for _, s := range statuses {
			if m.Status() == s {
				marks.WriteByte(byte(m))
			}
		}
	}
	return BatchMarks(marks.String())
}

// Has reports whether jobs that ended so are selected.
func (s BatchMarks) Has(m BatchMark) bool {
	return s == "" || strings.IndexByte(string(s), byte(m)) >= 0
}

// BatchOrder is an order of the jobs of a batch.
type BatchOrder string

// The orders of the jobs of a batch.
const (
	BySubmission BatchOrder = "submission"
	ByCompletion BatchOrder = "completion"
)

// BatchEnd is the end of a job of a batch.
type BatchEnd struct {
	Place int64 // in the order in which it was read, from 0
	Index int64
	Mark  BatchMark
}

// BatchEnds is a part of the ends of a batch.
type BatchEnds struct {
	// Ends go on without a gap from the place that was asked for. In the order of submission they go up to
	// the first job that has not ended.
	Ends []BatchEnd
	// Over: the batch has ended, and no end comes after these.
	Over bool
}

// BatchResult is a job of a batch that has ended, or a refused line.
type BatchResult struct {
	BatchEnd
	Job     Job  // its failure and result; zero if there is no record
	Expired bool // its record is there no more
	Large   bool // its result has to be read alone
	Refusal *BatchRefusal
}

// ErrBatchCursor means that a cursor is none of that batch and order.
var ErrBatchCursor = errors.New("is not a cursor of this batch and order; send the cursor of a line of its results, with the same order")

const cursorCheck = 4

// BatchCursor names the place after a number of jobs in an order of a batch.
func BatchCursor(batch string, order BatchOrder, place int64) string {
	text := binary.BigEndian.AppendUint32(nil, uint32(place)) //nolint:gosec // at most MaxBatchJobs
	sum := sha256.Sum256([]byte(batch + " " + string(order) + " " + string(text)))
	return base64.RawURLEncoding.EncodeToString(append(text, sum[:cursorCheck]...))
}

// ParseBatchCursor returns the place of a cursor.
func ParseBatchCursor(batch string, order BatchOrder, cursor string) (int64, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) != 4+cursorCheck {
		return 0, ErrBatchCursor
	}
	place := int64(binary.BigEndian.Uint32(raw))
	if BatchCursor(batch, order, place) != cursor {
		return 0, ErrBatchCursor
	}
	return place, nil
}
