package dialect

import "github.com/kaa-run/kaa/internal/job"

// Event is the data of an event of an execution, whatever its type: a dialect reads the fields that this type has.
type Event struct {
	job.Value
	Stream     string       `json:"stream"`
	Text       string       `json:"text"`
	State      job.State    `json:"state"`
	Name       string       `json:"name"`
	Message    string       `json:"value"`
	Traceback  string       `json:"traceback"`
	Failure    *job.Failure `json:"failure"`
	Status     job.Status   `json:"status"`
	ExitCode   *int         `json:"exitCode"`
	Error      *job.Error   `json:"error"`
	DurationMs float64      `json:"durationMs"`
}
