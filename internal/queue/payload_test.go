package queue

import (
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// FuzzPayload: a payload that is read is written the same, and one that is written is
// read the same.
func FuzzPayload(f *testing.F) {
	f.Add("j:1", "j", 1, 0, "py")
	f.Add("a:b:0@x", "a:b", 0, 3, "")
	f.Add(":1", "", -1, -1, ":")
	f.Add("a:2.3@x.4", "a", 2, 1, "x.4")
	f.Add("a:2.0", "a", 2, 0, ".")
	f.Fuzz(func(t *testing.T, payload, id string, attempt, passes int, runtime string) {
		if got, err := parsePayload([]byte(payload)); err == nil {
			if again, err := parsePayload(payloadOf(got)); err != nil || again != got {
				t.Errorf("%q: %+v, again %+v, %v", payload, got, again, err)
			}
		}
		task := job.Task{JobID: id, Attempt: attempt, Queue: "q", Runtime: runtime, Passes: passes}
		if validateTask(task) != nil {
			return
		}
		task.Queue = ""
		if got, err := parsePayload(payloadOf(task)); err != nil || got != task {
			t.Errorf("%+v was read as %+v, %v", task, got, err)
		}
	})
}
