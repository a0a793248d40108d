package queue

import (
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// FuzzPayload: a payload that is read is written the same, and one that is written is
// read the same.
func FuzzPayload(f *testing.F) {
	f.Add("j:1", "j", 1, "py")
	f.Add("a:b:0@x", "a:b", 0, "")
	f.Add(":1", "", -1, ":")
	f.Fuzz(func(t *testing.T, payload, id string, attempt int, runtime string) {
		if got, err := parsePayload([]byte(payload)); err == nil {
			if again, err := parsePayload(payloadOf(got)); err != nil || again != got {
				t.Errorf("%q: %+v, again %+v, %v", payload, got, again, err)
			}
		}
		task := job.Task{JobID: id, Attempt: attempt, Queue: "q", Runtime: runtime}
		if validateTask(task) != nil {
			return
		}
		task.Queue = ""
		if got, err := parsePayload(payloadOf(task)); err != nil || got != task {
			t.Errorf("%+v was read as %+v, %v", task, got, err)
		}
	})
}
