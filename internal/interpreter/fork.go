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

// Fork makes copies of the session, which begin as what it is now and go on apart from it:
// see fork.py. They share its sandbox, and so its limits of memory and processes.
// job.RefusedError: it has something that a copy cannot have, or there is no room; the
// session goes on as it was. After any other error it should be closed.
func (s *Session) Fork(ctx context.Context, count int) ([]*Session, error) {
	return s.fork(ctx, copyNames(count))
}

// Restore makes a copy of a session that itself is the copy of another, and gives it that
// one's working directory, with what this one has in its own. The other must be closed.
func (s *Session) Restore(ctx context.Context) (*Session, error) {
	copies, err := s.fork(ctx, []string{s.origin})
	if err != nil {
		return nil, err
	}
	return copies[0], nil
}

// fork makes a copy of the session for each name of a directory.
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
		// Whatever became of them, the session itself has done its part.
		err = errors.Join(&job.RefusedError{Message: "the session cannot be copied: a copy ended, or was not whole in time"}, err)
	}
	for _, c := range b.copies {
		err = errors.Join(err, c.Close())
	}
	for _, name := range names[len(b.copies):b.dirs] {
		f.removeDir(name)
	}
	return nil, fmt.Errorf("fork session on %s: %w", w.id, err)
}

// forking is the making of copies.
type forking struct {
	s      *Session
	f      *forkGroup
	names  []string
	chans  []*process.Channels // of those that are no worker yet
	dirs   int                 // how many have been made
	copies []*Session
	apart  bool // they need the session no more
}

func (b *forking) run(ctx context.Context) error {
	w := b.s.w
	defer b.closeChannels()
	// It has read all that was sent before, so a deadline that has passed only ends this.
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

// knowFiles notes which files a copy begins with: no execution of its own has made them.
func (s *Session) knowFiles(ctx context.Context, origin *Session) error {
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

// expect reads a frame of a type; a refusal is an error, and so is anything else.
func (b *forking) expect(w *Worker, id, kind string) (protocol.Frame, error) {
	m, err := w.frames.Next()
	switch {
	case err != nil:
		return protocol.Frame{}, err
	case m.Type == protocol.Refused && m.ID == id:
		return protocol.Frame{}, &job.RefusedError{Message: "the session cannot be copied: " + m.Error}
	case m.Type != kind || m.Type != protocol.Ready && m.ID != id:
		return protocol.Frame{}, fmt.Errorf("%w: %s is out of place", protocol.ErrFrame, m.Type)
	}
	return m, nil
}

// sendChannels gives the worker the descriptors of its copies.
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
	c := &Session{w: w, quota: s.quota, envs: s.envs, n: s.n, origin: s.w.dirName}
	c.oomKills.Store(w.oomKills)
	b.copies = append(b.copies, c)
	return w.send(protocol.Command{Cmd: "go"}) // the slot knows it, so that its end is seen
}

// awaitCopy waits until a copy has its own files.
func (b *forking) awaitCopy(ctx context.Context, w *Worker, id string) error {
	stop := context.AfterFunc(ctx, func() { _ = w.control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := b.expect(w, id, protocol.Ready); err != nil {
		return fmt.Errorf("await copy: %w", err)
	}
	return w.control.SetReadDeadline(time.Time{})
}
