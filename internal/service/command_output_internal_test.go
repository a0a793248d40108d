package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// keptEvents are the events of one job.
type keptEvents struct{ all []job.Event }

func (k keptEvents) Follow(context.Context, string) (job.State, error) { return job.Running, nil }

func (k keptEvents) Events(_ context.Context, _ string, after job.EventID, most int) ([]job.Event, error) {
	i := slices.IndexFunc(k.all, func(e job.Event) bool { return e.ID.Compare(after) > 0 })
	if i < 0 {
		return nil, nil
	}
	return k.all[i:min(i+most, len(k.all))], nil
}

func (k keptEvents) LastEvents(_ context.Context, _ string, before job.EventID, most int) ([]job.Event, error) {
	var last []job.Event
	for _, e := range slices.Backward(k.all) {
		if (before == (job.EventID{}) || e.ID.Compare(before) < 0) && len(last) < most {
			last = append(last, e)
		}
	}
	return last, nil
}

// put adds an event of so many bytes in the numbering.
func (k *keptEvents) put(e job.Event, size int) {
	id := job.EventID{Attempt: 1}
	if n := len(k.all); n > 0 {
		id.Seq = k.all[n-1].ID.Seq
	}
	id.Seq += uint64(size)
	k.all = append(k.all, job.Event{ID: id, Type: e.Type, Size: uint64(size), Data: e.Data})
}

func (k *keptEvents) stream(name, text string) {
	k.put(job.NewEvent(job.EventStream, job.StreamData{Type: job.EventStream, Stream: name, Text: text}), len(text))
}

// TestOutputSoFar: the beginning and the end of the output of a running command, and how much is missing in between.
func TestOutputSoFar(t *testing.T) {
	t.Parallel()
	note := func(n int) string { return job.DroppedNote(int64(n)) }
	for _, tt := range []struct {
		name           string
		put            func(k *keptEvents)
		stdout, stderr string
		omitted        int
	}{
		{"some", func(k *keptEvents) { k.stream("stdout", "a"); k.stream("stderr", "e"); k.stream("stdout", "b\n") }, "ab\n", "e", 0},
		{"none", func(*keptEvents) {}, "", "", 0},
		{"a long one", func(k *keptEvents) { k.stream("stdout", "a"+strings.Repeat("ä", edgeBytes)+"z") }, "a" + strings.Repeat("ä", edgeBytes/2-1) + note(4) + strings.Repeat("ä", edgeBytes/2-1) + "z", "", 4},
		{"many short ones", func(k *keptEvents) {
			for i := range 1000 {
				k.stream("stdout", fmt.Sprintf("%03d\n", i))
			}
		}, numbered(0, 255) + note(4*(1000-511)) + numbered(744, 1000), "", 4 * (1000 - 511)},
		{"with a gap", func(k *keptEvents) {
			k.stream("stdout", "a")
			k.put(job.NewEvent(job.EventGap, job.GapData{Type: job.EventGap, Bytes: 5}), 5)
			k.stream("stdout", "b")
		}, "ab" + note(5), "", 5},
		{"ended meanwhile", func(k *keptEvents) {
			k.stream("stdout", "a")
			k.all = append(k.all, job.Event{ID: job.EndID(1), Type: job.EventStatus})
		}, "a", "", 0},
	} {
		k := new(keptEvents)
		k.put(job.NewEvent(job.EventStatus, job.AttemptData{Type: job.EventStatus, State: job.Running, Attempt: 1}), 10)
		tt.put(k)
		got, err := New(Config{Events: k, Hub: NewHub("h")}).outputSoFar(t.Context(), "id")
		if err != nil || got.Stdout != tt.stdout || got.Stderr != tt.stderr || got.Omitted != int64(tt.omitted) {
			t.Errorf("%s: %.300q, %q, %d omitted, %v; want %.300q, %d", tt.name, got.Stdout, got.Stderr, got.Omitted, err, tt.stdout, tt.omitted)
		}
	}
	if got, err := New(Config{Events: new(keptEvents), Hub: NewHub("h")}).outputSoFar(t.Context(), "id"); got != nil || err != nil {
		t.Errorf("without events: %+v, %v", got, err)
	}
}

func numbered(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "%03d\n", i)
	}
	return b.String()
}
