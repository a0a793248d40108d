package job

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Batch is many jobs that were submitted together.
type Batch struct {
	ID        string
	Name      string
	Owner     string // caller who submitted it; empty if it had no key
	State     BatchState
	Skip      bool // bad lines are left out; else one of them refuses the batch
	Keep      bool // its lines stay as long as its record
	Rerun     BatchRerun
	Hook      *BatchHook    // nil if the request has none
	Archive   *BatchArchive // nil if the request asks for none
	CreatedAt time.Time
	// ReceivedAt is when the last of it came, or, in the state receiving, when something came last.
	ReceivedAt time.Time
	FinishedAt time.Time // zero until the state is terminal
	ResultTTL  time.Duration
	Failure    *Failure
	Lines      int64 // lines of the input that are recorded, of all kinds
	Counts     BatchCounts
	// Rate is the number of jobs that ended per second, lately; Remaining the time until the end at
	// this rate, 0 if it is not known.
	Rate      float64
	Remaining time.Duration
	// Defaults are the caller's own, as JSON: what holds for each line that is still to come.
	Defaults []byte
}

// BatchCounts are the numbers of a batch's jobs.
type BatchCounts struct {
	Jobs      int64 // that were received, with those that were refused
	Refused   int64
	Waiting   int64
	Running   int64
	Completed int64
	Cancelled int64
	Failed    int64
	Statuses  map[Status]int64 // of those that completed
}

// Ended is the number of jobs that do not wait or run.
func (c BatchCounts) Ended() int64 { return c.Refused + c.Completed + c.Cancelled + c.Failed }

// BatchState is the state of a batch.
type BatchState string

// The states of a batch.
const (
	BatchReceiving  BatchState = "receiving"
	BatchRunning    BatchState = "running"    // all has been received
	BatchCancelling BatchState = "cancelling" // its jobs are being cancelled
	BatchCompleted  BatchState = "completed"
	BatchCancelled  BatchState = "cancelled"
	BatchFailed     BatchState = "failed" // it was not received to its end
)

// Terminal reports whether the batch has ended.
func (s BatchState) Terminal() bool {
	return s == BatchCompleted || s == BatchCancelled || s == BatchFailed
}

// FailBatchLost means that the line of a job was lost before the job had a record.
const FailBatchLost FailureCode = "batch_lost"

// FailIncomplete means that the client did not send the batch to its end.
const FailIncomplete FailureCode = "incomplete"

// FailBatchDeleted means that the batch after whose end the job was to run was deleted before it had ended.
const FailBatchDeleted FailureCode = "batch_deleted"

// AwaitedError says that as many jobs wait for the end of a batch as may.
type AwaitedError struct{ Depth, Limit int64 }

func (e *AwaitedError) Error() string {
	return fmt.Sprintf("%d jobs wait for the end of the batch already", e.Depth)
}

// Errors of batches.
var (
	// ErrNoBatch: the batch was never known to this caller, or is forgotten.
	ErrNoBatch = errors.New("batch not found")
	// ErrBatchBusy: another request sends the batch.
	ErrBatchBusy = errors.New("another request sends this batch")
	// ErrBatchClosed: the batch takes no more lines.
	ErrBatchClosed = errors.New("the batch takes no more lines")
	// ErrBatchUnended: the batch has not ended, so its record cannot be deleted.
	ErrBatchUnended = errors.New("the batch has not ended")
	// ErrBatchEnded: the batch has ended.
	ErrBatchEnded = errors.New("the batch has ended")
	// ErrChunkLost: a part of the batch is not there any more, or cannot be read.
	ErrChunkLost = errors.New("a part of the batch is lost")
	// ErrBatchStopped: the batch wants no record of this job any more.
	ErrBatchStopped = errors.New("the batch does not want this job any more")
)

// BatchesFullError has the limit of batches of a caller.
type BatchesFullError struct{ InUse, Limit int64 }

func (e *BatchesFullError) Error() string {
	return fmt.Sprintf("the caller has as many batches that have not ended as it may: %d", e.Limit)
}

// BatchLimits are the bounds of batches.
type BatchLimits struct {
	Jobs      int64
	Bytes     int64 // of the input, after it was unpacked
	LineBytes int
	Open      int // batches of a caller that have not ended; 0 is no limit
}

// NewBatch is a batch of which nothing has been received yet.
type NewBatch struct {
	ID     string
	Caller string
	Name   string
	Skip   bool
	// ResultTTL is how long the record outlives the end.
	ResultTTL time.Duration
	Defaults  []byte
	Keep      bool // its lines stay as long as its record
	Rerun     BatchRerun
	Archive   bool // its results are to be written as one object
	// Hook has the URL and the percent of a webhook; empty for none.
	Hook       BatchHook
	HookSecret Secret
	// Sum is the state of the hash of the input before its first byte.
	Sum []byte
	// IdempotencyKey and Scope are as those of a job; empty for none.
	IdempotencyKey, Scope string
	// Writer is the request that sends it.
	Writer string
	// Most is the largest number of batches of the caller that have not ended; 0 is no limit.
	Most int
}

// BatchPlace is how far a batch was received.
type BatchPlace struct {
	Lines int64  // of the input
	Jobs  int64  // the index of the next job
	Bytes int64  // of the input
	Sum   []byte // the state of a hash of these bytes
}

// BatchChunk is a part of a batch.
type BatchChunk struct {
	Batch, Caller, Writer string
	From, To              BatchPlace
	Data                  []byte
	Codes                 map[string][]byte // by digest, compressed
	Refusals              []BatchRefusal
}

// BatchRefusal is a line that describes no job.
type BatchRefusal struct {
	Line    int64  `json:"line" doc:"Number of the line, from 1."`
	Index   int64  `json:"index" doc:"Number that the job would have in the batch, from 0."`
	Message string `json:"message" doc:"The mistake."`
}

// MaxBatchRefusals is how many refused lines of a batch are kept.
const MaxBatchRefusals = 1000

// BatchProgress is what the feeder of batches has to know of one.
type BatchProgress struct {
	ID         string
	State      BatchState
	Skip       bool
	Owner      string
	Jobs       int64 // received
	Next       int64 // the first index that may have no record
	Ahead      int64 // jobs with a record that have not ended
	ReceivedAt time.Time
}

// BatchFilter selects batches for a listing.
type BatchFilter struct {
	Viewer Viewer
	Cursor string // id of the last batch of the page before
	Limit  int
}

// MaxBatchJobs is the largest number of jobs of a batch that ids have room for.
const MaxBatchJobs = 1<<24 - 1

const (
	uuidLength  = 36
	versionAt   = 14
	indexDigits = 6
)

// NewBatchID returns an id for a batch: a UUID of version 8, which sorts by age as those of version 7
// do, and ends with zeros. The ids of its jobs have their number there.
func NewBatchID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	for i, now := 0, time.Now().UnixMilli(); i < 6; i++ {
		id[i] = byte(now >> (8 * (5 - i)) & 0xff)
	}
	id[6] = 0x80 | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	h := hex.EncodeToString(id[:13]) + "000000"
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// BatchJobID returns the id of a job of a batch. index is from 0 to MaxBatchJobs-1.
func BatchJobID(batch string, index int64) string {
	return batch[:uuidLength-indexDigits] + fmt.Sprintf("%06x", index+1)
}

// BatchOf returns the batch that the id of a job belongs to, and its index there; false if the job
// is of none.
func BatchOf(id string) (batch string, index int64, ok bool) {
	if !isBatchText(id) {
		return "", 0, false
	}
	n, err := strconv.ParseInt(id[uuidLength-indexDigits:], 16, 64)
	if err != nil || n == 0 {
		return "", 0, false
	}
	return id[:uuidLength-indexDigits] + "000000", n - 1, true
}

// IsBatchID reports whether a text has the form of the id of a batch.
func IsBatchID(id string) bool {
	return isBatchText(id) && id[uuidLength-indexDigits:] == "000000"
}

func isBatchText(id string) bool {
	if len(id) != uuidLength || id[versionAt] != '8' {
		return false
	}
	for i := range id {
		switch hyphen := i == 8 || i == 13 || i == 18 || i == 23; {
		case hyphen != (id[i] == '-'):
			return false
		case !hyphen && strings.IndexByte("0123456789abcdef", id[i]) < 0: // small letters only: it is a part of keys
			return false
		}
	}
	return true
}
