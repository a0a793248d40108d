package interpreter

import (
	"io"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/workdir"
)

// The file systems of a sandbox are memory. The kernel charges files that the code writes to the
// sandbox's control group, and files that the runner puts there to the runner's own group. So the
// runner counts its files and lowers the group's limit by their size. Otherwise a session could use
// diskBytes a second time, and the kernel would end other executions because of it.

// chargeSpare stays free between the memory in use and the limit when a file is put.
const chargeSpare = 2 << 20

// limited returns q with its memory lowered by the size of the files put into the sandbox.
func (s *slot) limited(q job.Quota) job.Quota {
	q.MemoryBytes = max(chargeSpare, q.MemoryBytes-s.put.Load())
	return q
}

// recount lowers the count of files put into the sandbox to the size of all files in it, because
// the code may have removed some. Each fork has a file system of its own, so recount does nothing
// beside forks, unless InFiles has opened all of them. The caller holds charging.
func (s *Session) recount(t *workdir.Tree) {
	slot := s.w.slot
	switch {
	case slot.elsewhere:
		s.recountFiles()
	case len(slot.copyDirs()) > 0:
	default:
		if used, err := t.Used(); err == nil {
			slot.put.Store(min(slot.put.Load(), used))
		}
	}
}

// inMemory reports whether the session's files are memory.
func (s *Session) inMemory() bool { return s.w.pool.cfg.Sandbox == sandbox.Strict }

// counts reports whether charge must count the files put into the session. Without a control group
// the watchdog counts files, but only while code runs.
func (s *Session) counts() bool { return s.w.slot.group != nil && s.inMemory() }

// charge calls write with the content to put a file, and counts the file.
func (s *Session) charge(t *workdir.Tree, name string, content io.Reader, write func(io.Reader) (workdir.Stamp, error)) (workdir.Stamp, error) {
	switch {
	case !s.inMemory():
		return write(content)
	case !s.counts():
		return write(&workdir.Bounded{R: content, Room: s.quota.MemoryBytes - s.w.slot.memory() - chargeSpare})
	}
	slot := s.w.slot
	slot.charging.Lock()
	defer slot.charging.Unlock()
	s.recount(t)
	room := s.quota.MemoryBytes - slot.put.Load() - slot.group.Held() - chargeSpare
	counted := &workdir.Bounded{R: content, Room: room}
	stamp, err := write(counted)
	if err != nil {
		return stamp, err
	}
	slot.put.Add(room - counted.Room)
	s.recount(t) // the file may have replaced another
	if err := slot.group.Limit(slot.limited(s.quota)); err != nil {
		slot.put.Add(counted.Room - room)
		_ = t.Remove(name)
		return stamp, workdir.NoRoom()
	}
	return stamp, nil
}

// discharge raises the group's limit by the size of removed files.
func (s *Session) discharge(t *workdir.Tree) {
	s.w.slot.charging.Lock()
	defer s.w.slot.charging.Unlock()
	if s.counts() && s.w.slot.put.Load() > 0 {
		s.recount(t)
		_ = s.w.slot.group.Limit(s.w.slot.limited(s.quota)) // the limit only rises, so an error does no harm
	}
}
