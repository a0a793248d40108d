package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// placeBytes is the size of an index in the list of a batch's ends.
const placeBytes = 3

// BatchEnds returns the ends of a batch from a place on, at most most of them.
func (s *Store) BatchEnds(ctx context.Context, id string, order job.BatchOrder, from int64, most int) (job.BatchEnds, error) {
	const op = "read ends of batch"
	var record *redis.SliceCmd
	var text *redis.StringCmd
	key := batchKey(id)
	// As one: no job ends, and nothing expires, between the state and the ends.
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		record = p.HMGet(ctx, key, "state", "jobs")
		if order == job.ByCompletion {
			text = p.GetRange(ctx, key+":order", from*placeBytes, (from+int64(most))*placeBytes-1)
		} else {
			text = p.GetRange(ctx, key+":ends", from, from+int64(most)-1)
		}
		return nil
	})
	if err != nil {
		return job.BatchEnds{}, wrap(op, err)
	}
	f := reply(record.Val())
	over, left := job.BatchState(f.text(0)).Terminal(), atoi(f.text(1))-from
	if f.text(0) == "" {
		return job.BatchEnds{}, fmt.Errorf("%s: %w", op, s.absent(ctx, op, id))
	}
	ends := marksFrom(text.Val(), from)
	if order == job.ByCompletion {
		if ends, err = s.endsInOrder(ctx, key, text.Val(), from); err != nil {
			return job.BatchEnds{}, err
		}
	}
	if over && int64(len(ends)) < min(left, int64(most)) {
		// The record and the ends expire at the same time, though not in one step.
		return job.BatchEnds{}, fmt.Errorf("%s: %w", op, &job.PrivateGoneError{})
	}
	return job.BatchEnds{Ends: ends, Over: over && int64(len(ends)) >= left}, nil
}

// marksFrom returns the ends up to the first job that has not ended.
func marksFrom(marks string, from int64) []job.BatchEnd {
	ends := make([]job.BatchEnd, 0, len(marks))
	for i := range len(marks) {
		if marks[i] == 0 {
			break
		}
		at := from + int64(i)
		ends = append(ends, job.BatchEnd{Place: at, Index: at, Mark: job.BatchMark(marks[i])})
	}
	return ends
}

// endsInOrder returns the ends of a part of the list of indexes.
func (s *Store) endsInOrder(ctx context.Context, key, list string, from int64) ([]job.BatchEnd, error) {
	ends := make([]job.BatchEnd, 0, len(list)/placeBytes)
	marks := make([]*redis.StringCmd, 0, cap(ends))
	if len(list) < placeBytes {
		return ends, nil
	}
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for at := 0; at+placeBytes <= len(list); at += placeBytes {
			index := int64(list[at])<<16 | int64(list[at+1])<<8 | int64(list[at+2])
			ends = append(ends, job.BatchEnd{Place: from + int64(len(ends)), Index: index})
			marks = append(marks, p.GetRange(ctx, key+":ends", index, index))
		}
		return nil
	})
	if err != nil {
		return nil, wrap("read ends of batch", err)
	}
	for i, m := range marks {
		if m.Val() == "" || m.Val() == "\x00" { // the batch has expired meanwhile
			return ends[:i], nil
		}
		ends[i].Mark = job.BatchMark(m.Val()[0])
	}
	return ends, nil
}

// resultFields are the fields of a record that a line of results has.
func resultFields() []string {
	return []string{"state", "queue", "caller", "failure_code", "failure_message", "failure_reason", "result", "dropped", "large_bytes"}
}

// BatchResults returns the results of jobs that have ended, without large ones and without refusals, and about how many
// bytes of memory they take.
func (s *Store) BatchResults(ctx context.Context, id string, ends []job.BatchEnd) (results []job.BatchResult, size int64, err error) {
	const op = "read results of batch"
	fields := resultFields()
	cmds := make([]*redis.SliceCmd, len(ends))
	if slices.ContainsFunc(ends, func(e job.BatchEnd) bool { return e.Mark.Recorded() }) {
		if _, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, e := range ends {
				if e.Mark.Recorded() {
					cmds[i] = p.HMGet(ctx, jobKey(job.BatchJobID(id, e.Index)), fields...)
				}
			}
			return nil
		}); err != nil {
			return nil, 0, wrap(op, err)
		}
	}
	results = make([]job.BatchResult, len(ends))
	for i, e := range ends {
		results[i] = job.BatchResult{BatchEnd: e}
		if cmds[i] == nil {
			results[i].Job.Failure = e.Mark.Failure()
			continue
		}
		v := cmds[i].Val()
		text, _ := v[len(v)-3].(string)
		size += resultParts * int64(len(text))
		j, ok, err := decode(job.BatchJobID(id, e.Index), fields, v, nil)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", op, err)
		}
		results[i].Job, results[i].Expired, results[i].Large = j, !ok, v[len(v)-1] != nil
	}
	return results, size, nil
}
