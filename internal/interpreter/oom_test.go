package interpreter_test

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// TestMemoryOfOthers: an execution that is ended because there is no memory for all of them is not
// told that it needed more than its own limit.
func TestMemoryOfOthers(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(c *interpreter.Config) {
		c.Size, c.Ceilings = 1, sandbox.Ceilings{Memory: 512 << 20} // of which 384 are for sandboxes
	})
	if _, _, control := p.Sandbox(); !strings.HasPrefix(control, "cgroup") {
		t.Skip("no control groups here")
	}
	quota := job.Quota{Processes: 10, MemoryBytes: 1 << 30, DiskBytes: 1 << 20, FileBytes: 1 << 20, OutputBytes: 1 << 20, OpenFiles: 100, CPUs: 1}
	for _, tt := range []struct {
		limit int64
		want  string
	}{
		{1 << 30, "had not used up its own limit of 1 GiB"},
		{64 << 20, "needed more than its limit of 64 MiB of memory"},
	} {
		w, err := p.Acquire(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		quota.MemoryBytes = tt.limit
		res, err := w.Execute(t.Context(), job.Spec{Code: "x = bytearray(700 << 20)", Quota: quota}, job.Live{})
		if err != nil {
			t.Fatal(err)
		}
		if res.Error == nil || !strings.Contains(res.Error.Value, tt.want) || res.Limit != job.LimitMemory {
			t.Errorf("%s: %+v, limit %q", tt.want, res.Error, res.Limit)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}
