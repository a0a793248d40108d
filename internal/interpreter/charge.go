package interpreter

import (
	"io"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/workdir"
)

// The file systems of a sandbox are memory. What its code writes there is charged to its control
// group; what this process puts there, to this process's own. So that is counted here, and
// taken from the limit of the group: else a session could have as much again as diskBytes
// allows, and others would be ended for it.

// chargeSpare is left between what is used and the limit when a file is put.
const chargeSpare = 2 << 20

// limited is q with what was put into the sandbox taken from its memory.
func (s *slot) limited(q job.Quota) job.Quota {
	q.MemoryBytes = max(chargeSpare, q.MemoryBytes-s.put.Load())
	return q
}

// recount notes that files that were put there may be gone: no more can be left of them than
// what is used. Of a fork group each has a file system of its own, so nothing is known.
func (w *Worker) recount(t *workdir.Tree) {
	if w.forkGroup() != nil {
		return
	}
	if used, err := t.Used(); err == nil {
		w.slot.put.Store(min(w.slot.put.Load(), used))
	}
}

// inMemory reports whether the session's files are memory.
func (s *Session) inMemory() bool { return s.w.pool.cfg.Sandbox == sandbox.Strict }

// counts reports whether what is put into the session's files has to be counted here. Where
// there is no group, the watchdog sees files, but looks only while code runs.
func (s *Session) counts() bool { return s.w.slot.group != nil && s.inMemory() }

// charge puts a file by write, which is given the content, and counts it.
func (s *Session) charge(t *workdir.Tree, name string, content io.Reader, write func(io.Reader) (workdir.Stamp, error)) (workdir.Stamp, error) {
	switch {
	case !s.inMemory():
		return write(content)
	case !s.counts():
		return write(&workdir.Bounded{R: content, Room: s.quota.MemoryBytes - s.w.slot.memory() - chargeSpare})
	}
	s.w.recount(t)
	slot := s.w.slot
	room := s.quota.MemoryBytes - slot.put.Load() - slot.group.Held() - chargeSpare
	counted := &workdir.Bounded{R: content, Room: room}
	stamp, err := write(counted)
	if err != nil {
		return stamp, err
	}
	slot.put.Add(room - counted.Room)
	s.w.recount(t) // it may have replaced another
	if err := slot.group.Limit(slot.limited(s.quota)); err != nil {
		slot.put.Add(counted.Room - room)
		_ = t.Remove(name)
		return stamp, workdir.NoRoom()
	}
	return stamp, nil
}

// discharge gives the group back what files took that are gone.
func (s *Session) discharge(t *workdir.Tree) {
	if s.counts() && s.w.slot.put.Load() > 0 {
		s.w.recount(t)
		_ = s.w.slot.group.Limit(s.w.slot.limited(s.quota)) // it is higher
	}
}
