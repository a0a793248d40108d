package service

import (
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// TestGapEvent: a gap of bytes that came too fast names no event, and has the id of the event behind it.
func TestGapEvent(t *testing.T) {
	t.Parallel()
	id := job.EventID{Attempt: 1, Seq: 9}
	if e := gapEvent(id, 5); e.ID != id || e.Type != job.EventGap || string(e.Data) != `{"type":"gap","bytes":5}` {
		t.Errorf("%s %s %s", e.ID, e.Type, e.Data)
	}
}
