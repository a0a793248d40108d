package interpreter_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// sink keeps what it gets of the streams.
type sink struct {
	mu      sync.Mutex
	text    map[string]string
	skipped int64
}

func (s *sink) Stream(name string, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text[name] += string(p)
}

func (s *sink) Skipped(_ string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skipped += n
}

func (*sink) Event(job.EventType, json.RawMessage) {}

func (s *sink) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text["stdout"], text)
}

// TestTapOpenedLate: who begins to watch in the middle sees what there was, and from
// then on everything, before the code has ended.
func TestTapOpenedLate(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	var all strings.Builder
	for i := range 20_000 {
		fmt.Fprintln(&all, i)
	}
	const code = "import sys\nprint('err', file=sys.stderr)\nfor i in range(20000): print(i)\nprint('end')"
	want := all.String() + "end\n"
	for name, quota := range map[string]int64{"all is kept": 1 << 20, "some is dropped": 4 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := acquire(t, pool)
			q := job.Quota{MemoryBytes: 256 << 20, CPUs: 1, Processes: 64, OpenFiles: 256, FileBytes: 1 << 20, DiskBytes: 1 << 20, OutputBytes: quota}
			early, late := &sink{text: map[string]string{}}, &sink{text: map[string]string{}}
			tap := new(job.Tap)
			tap.Open(early)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if _, err := w.Execute(t.Context(), job.Spec{Code: code, Timeout: ample, Quota: q}, job.Live{Tap: tap}); err != nil {
					t.Error(err)
				}
			}()
			testenv.Eventually(t, "it has begun", func() bool { return early.has("0\n1\n") })
			tap.Open(late)
			<-ended
			got := late.text["stdout"]
			if int64(len(got))+late.skipped != int64(len(want)) {
				t.Errorf("%d bytes and %d skipped of %d", len(got), late.skipped, len(want))
			}
			if half := int(quota / 2); !strings.HasPrefix(want, got[:min(half, len(got))]) || !strings.HasSuffix(want, got[max(0, len(got)-half):]) {
				t.Errorf("beginning and end: %q … %q", got[:20], got[len(got)-20:])
			}
			if quota > int64(len(want)) && (got != want || late.text["stderr"] != "err\n") {
				t.Errorf("%d bytes of %d, stderr %q", len(got), len(want), late.text["stderr"])
			}
		})
	}
}
