package interpreter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/protocol"
	"github.com/kaa-run/kaa/internal/workdir"
)

// Fork makes forks of the session, which begin with its present state and are independent of it
// afterwards: see fork.py. They share its sandbox, and so its limits of memory and processes. Fork
// returns a job.RefusedError if the session has a resource that a fork cannot have, or if there is
// no room; the session continues unchanged. After any other error it should be closed.
func (s *Session) Fork(ctx context.Context, count int) ([]*Session, error) {
	return s.fork(ctx, copyNames(count))
}

// Restore forks a session that is itself a fork. The new fork gets the working directory of the
// original session, with the files of this one. The original must be closed.
func (s *Session) Restore(ctx context.Context) (*Session, error) {
	copies, err := s.fork(ctx, []string{s.origin})
	if err != nil {
		return nil, err
	}
	return copies[0], nil
}

// fork makes a fork of the session for each name of a directory.
func (s *Session) fork(ctx context.Context, names []string) ([]*Session, error) {
	w := s.w
	if err := w.beginAgain(); err != nil {
		return nil, err
	}
	defer w.endOne()
	if s.Alive() != nil {
		return nil, fmt.Errorf("fork session on %s: %w", w.id, job.ErrNotStarted)
	}
	f, err := w.beginForkGroup()
	if err != nil {
		return nil, fmt.Errorf("fork session on %s: %w", w.id, err)
	}
	b := &forking{s: s, f: f, names: names}
	err = b.run(ctx)
	_, refused := errors.AsType[*job.RefusedError](err)
	switch {
	case err == nil:
		return b.copies, nil
	case b.apart && !refused:
		// Only the forks failed; the session itself is unharmed.
		err = errors.Join(&job.RefusedError{Message: "the session cannot be forked: a fork ended, or was not whole in time"}, err)
	}
	for _, c := range b.copies {
		err = errors.Join(err, c.Close())
	}
	for _, name := range names[len(b.copies):b.dirs] {
		f.removeDir(name)
	}
	return nil, fmt.Errorf("fork session on %s: %w", w.id, err)
}

// forking is the state of a fork command.
type forking struct {
	s      *Session
	f      *forkGroup
	names  []string
	chans  []*process.Channels // of forks that are no workers yet
	dirs   int                 // the number of directories made
	copies []*Session
	apart  bool // the forks need the session no more
}

func (b *forking) run(ctx context.Context) error {
	w := b.s.w
	defer b.closeChannels()
	// The deadline interrupts only this command, because all earlier frames have been read.
	stop := context.AfterFunc(ctx, func() { _ = w.control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	places := make([]string, len(b.names))
	for i, name := range b.names {
		places[i] = b.f.place(name)
		if err := b.f.makeDir(name, b.s.quota.DiskBytes); err != nil {
			return err
		}
		b.dirs++
	}
	const id = "fork"
	if err := w.send(protocol.Command{ID: id, Cmd: "fork", To: places}); err != nil {
		return fmt.Errorf("send command: %w", err)
	}
	if _, err := b.expect(w, id, protocol.Forking); err != nil {
		return err
	}
	if err := b.sendChannels(); err != nil {
		return err
	}
	for _, name := range b.names {
		m, err := b.expect(w, id, protocol.Forked)
		if err != nil {
			return err
		}
		if err := b.join(name, m.PID); err != nil {
			return err
		}
	}
	stop()
	if err := w.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	b.apart = true
	for _, c := range b.copies {
		if err := b.awaitCopy(ctx, c.w, id); err != nil {
			return err
		}
		if err := c.knowFiles(ctx, b.s); err != nil {
			return err
		}
	}
	return nil
}

// knowFiles records the files with which a fork begins, because none of its own executions has made
// them.
func (s *Session) knowFiles(ctx context.Context, origin *Session) error {
	origin.w.files.knowWritten()
	if !origin.w.files.left && len(origin.w.files.known) == 0 {
		return nil
	}
	s.w.files.left = true
	return s.inDirectory("look at files", func(t *workdir.Tree) error {
		files, _ := t.Search(ctx)
		for _, f := range files {
			s.w.files.known.Put(f.Path, f.Stamp)
		}
		return nil
	})
}

func (b *forking) closeChannels() {
	for _, chans := range b.chans {
		_ = chans.Close()
	}
}

// expect reads a frame of a type. A refusal or any other frame is an error.
func (b *forking) expect(w *Worker, id, kind string) (protocol.Frame, error) {
	m, err := w.frames.Next()
	switch {
	case err != nil:
		return protocol.Frame{}, err
	case m.Type == protocol.Refused && m.ID == id:
		return protocol.Frame{}, &job.RefusedError{Message: "the session cannot be forked: " + m.Error}
	case m.Type != kind || m.Type != protocol.Ready && m.ID != id:
		return protocol.Frame{}, fmt.Errorf("%w: %s is out of place", protocol.ErrFrame, m.Type)
	}
	return m, nil
}

// sendChannels sends the worker the descriptors of its forks.
func (b *forking) sendChannels() error {
	for range b.names {
		chans, err := process.OpenChannels(b.s.w.pool.owners.HostID(b.s.w.slot.owner))
		if err != nil {
			return err
		}
		b.chans = append(b.chans, chans)
		if err := sendRights(b.s.w.control, chans.Theirs); err != nil {
			return fmt.Errorf("send descriptors: %w", err)
		}
		chans.CloseTheirs()
	}
	return nil
}

// sendRights passes descriptors over a socket, beside one byte.
func sendRights(socket *os.File, fds []int) error {
	conn, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = conn.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), []byte{0}, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

// join makes a session of the process that the worker has forked.
func (b *forking) join(name string, pid int) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make session id: %w", err)
	}
	known, err := b.f.adopt(pid)
	if err != nil {
		return err
	}
	s := b.s
	w, err := b.f.join(s.w.stock, id.String(), name, pid, known, b.chans[0])
	b.chans = b.chans[1:]
	if err != nil {
		return err
	}
	c := &Session{w: w, quota: s.quota, envs: s.envsOfFork(), n: s.n, origin: s.w.dirName, pausing: newPausing(), commands: newCommands(), contexts: &contexts{}}
	c.oomKills.Store(w.oomKills)
	b.copies = append(b.copies, c)
	return w.send(protocol.Command{Cmd: "go"}) // the slot has adopted it, so it will report its end
}

// awaitCopy waits until a fork has its own files.
func (b *forking) awaitCopy(ctx context.Context, w *Worker, id string) error {
	stop := context.AfterFunc(ctx, func() { _ = w.control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := b.expect(w, id, protocol.Ready); err != nil {
		return fmt.Errorf("await copy: %w", err)
	}
	return w.control.SetReadDeadline(time.Time{})
}
