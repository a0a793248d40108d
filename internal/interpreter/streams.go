package interpreter

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// streams are the outputs of an execution of a session. They are copied until somebody has to
// know that all that was written by now has been: at its end, and when it asks for input.
type streams struct {
	mu    sync.Mutex
	left  bool // nobody is to copy any more, but drain
	pumps [2]pump
}

// pump copies one of them.
type pump struct {
	from *os.File
	to   io.Writer
	done chan struct{} // closed when it has stopped
}

// pumpUntilTold copies the streams until their end, or until drain.
func (r *run) pumpUntilTold() {
	for i := range r.streams.pumps {
		p := &r.streams.pumps[i]
		p.done = make(chan struct{})
		done := p.done
		r.pumps.Go(func() {
			defer close(done)
			buf := r.w.pool.buffers.Get().(*[]byte)
			defer r.w.pool.buffers.Put(buf)
			_, _ = io.CopyBuffer(p.to, readOnly{p.from}, *buf)
		})
	}
}

// catchUp returns when what was written before has been copied, so that what is told next
// comes after it.
func (r *run) catchUp() {
	s := &r.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return
	}
	s.drain()
	r.pumpUntilTold()
}

// leave makes catchUp do nothing any more.
func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
}

// drain stops the copying and copies what there is now.
func (s *streams) drain() {
	for _, p := range s.pumps {
		_ = p.from.SetReadDeadline(time.Unix(1, 0))
	}
	for _, p := range s.pumps {
		<-p.done
		_ = p.from.SetReadDeadline(time.Time{})
		drainPipe(p.from, p.to)
	}
}

// drainPipe reads what is in a pipe now, without waiting for more: others may go on
// writing to it.
func drainPipe(from *os.File, to io.Writer) {
	conn, err := from.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool {
		left, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		if err != nil || left == 0 {
			return true
		}
		buf := make([]byte, min(left, bufferSize))
		for left > 0 {
			n, err := unix.Read(int(fd), buf[:min(left, len(buf))])
			if n <= 0 || err != nil {
				return true
			}
			_, _ = to.Write(buf[:n])
			left -= n
		}
		return true
	})
}
