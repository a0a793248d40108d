package service

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// edgeBytes is about how much of the beginning and of the end of each stream is shown while a command runs.
	edgeBytes = 16 << 10
	// edgePages bounds how many times events are read for one of the two: a program may write few bytes at a time.
	edgePages = 16
)

// outputSoFar returns the beginning and the end of the output of a running command, as far as its events are kept; nil if they
// are not.
func (s *Service) outputSoFar(ctx context.Context, id string) (*job.OutputSoFar, error) {
	select {
	case s.fetches <- struct{}{}:
		defer func() { <-s.fetches }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var first, last edge
	for page, more := 0, true; more && page < edgePages && first.size < edgeBytes; page++ {
		events, err := s.cfg.Events.Events(ctx, id, first.at, eventsAtOnce)
		if err != nil {
			return nil, err
		}
		more = len(events) == eventsAtOnce
		first.add(events)
	}
	if len(first.events) == 0 {
		return nil, nil //nolint:nilnil // nil without an error is in the contract
	}
	for page, more := 0, true; more && page < edgePages && last.size < edgeBytes; page++ {
		events, err := s.cfg.Events.LastEvents(ctx, id, last.at, eventsAtOnce)
		if err != nil {
			return nil, err
		}
		more = len(events) == eventsAtOnce
		if i := slices.IndexFunc(events, func(e job.Event) bool { return e.ID.Compare(first.at) <= 0 }); i >= 0 {
			events, more = events[:i], false
		}
		last.add(events)
	}
	slices.Reverse(last.events)
	return soFar(append(first.events, last.events...), len(first.events)), nil
}

// edge is the events of one end of a command's output.
type edge struct {
	events []job.Event
	at     job.EventID // of the one that was read last
	size   int
}

func (e *edge) add(events []job.Event) {
	for _, one := range events {
		if one.ID.Ends() { // it has just ended
			continue
		}
		e.events = append(e.events, one)
		e.at = one.ID
		e.size += len(one.Data)
	}
}

// soFar makes texts of events, in their order, of which the first are those of the beginning.
func soFar(events []job.Event, first int) *job.OutputSoFar {
	var texts [2][2]strings.Builder // of stdout and stderr, at the beginning and at the end
	out, known := new(job.OutputSoFar), job.EventID{}
	for i, e := range events {
		if known.Attempt != e.ID.Attempt {
			known = job.EventID{Attempt: e.ID.Attempt}
		}
		out.Omitted += int64(e.ID.Seq - e.Size - known.Seq) //nolint:gosec // a count
		known = e.ID
		end := 0
		if i >= first {
			end = 1
		}
		if e.Type == job.EventStream {
			var data job.StreamData
			_ = json.Unmarshal(e.Data, &data) // the runner has written it
			stream := 0
			if data.Stream == job.OutputStderr {
				stream = 1
			}
			_, _ = texts[stream][end].WriteString(data.Text) // it always writes
		}
		if e.Type == job.EventGap {
			var data job.GapData
			_ = json.Unmarshal(e.Data, &data)
			out.Omitted += int64(data.Bytes) //nolint:gosec // a count
		}
	}
	var cut [2]int
	var parts [2][2]string
	for stream := range parts {
		parts[stream][0], parts[stream][1], cut[stream] = shorten(texts[stream][0].String(), texts[stream][1].String())
		out.Omitted += int64(cut[stream])
	}
	out.Stdout, out.Stderr = parts[0][0]+parts[0][1], parts[1][0]+parts[1][1]
	if out.Omitted == 0 {
		return out
	}
	note := job.DroppedNote(out.Omitted)
	for stream, text := range []*string{&out.Stdout, &out.Stderr} {
		if *text != "" {
			*text = parts[stream][0] + note + parts[stream][1]
		}
	}
	return out
}

// shorten cuts the middle out of a text that comes in two parts. It returns the number of bytes that it cut.
func shorten(head, tail string) (begin, end string, cut int) {
	if len(head)+len(tail) <= 2*edgeBytes {
		return head, tail, 0
	}
	all := len(head) + len(tail)
	if len(head) > edgeBytes {
		at := edgeBytes
		for at > 0 && !utf8.RuneStart(head[at]) {
			at--
		}
		head, tail = head[:at], head[at:]+tail
	}
	if from := len(tail) - edgeBytes; from > 0 {
		for from < len(tail) && !utf8.RuneStart(tail[from]) {
			from++
		}
		tail = tail[from:]
	}
	return head, tail, all - len(head) - len(tail)
}
