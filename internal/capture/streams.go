package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/protocol"
)

// BufferSize is how much is read at once: what a pipe holds.
const BufferSize = 64 << 10

const (
	// Output that comes in many small pieces is read about once in floodPause: to wake us
	// costs the code more than to write a line does.
	floodPause  = time.Millisecond
	floodReads  = 16             // so many pieces, each within floodPause of the one before, are a flood
	floodPieces = BufferSize / 4 // of at most so many bytes: larger ones the pipe would not hold
)

// Streams are the outputs of an execution. They are copied until their end, or until drain.
type Streams struct {
	*meeting
	Prefix string
	pumps  [2]*pump
	frames int64 // the mark of the last frame; of the goroutine that reads them
	closed bool  // guarded by mu: the frames are at their end, so nobody has to wait for more of a flood
	// draining: the deadline of the pipes is that of drain, which reads what is left.
	draining atomic.Bool
}

// pump copies one of them.
type pump struct {
	s    *Streams
	who  int
	from *os.File
	to   io.Writer
	// idle: all that there was has been read and passed on. turns: how often all that had been
	// read was passed on. Guarded by s.mu.
	idle  bool
	turns int
	hurry chan struct{} // has room for one
	done  chan struct{} // closed when it has stopped

	cutter cutter
	buf    []byte
	rest   int    // how much at the beginning of buf was read before
	left   []byte // what of the beginning of a mark was there when drain stopped the copying
	last   time.Time
	rapid  int
}

// NewStreams copies two pipes to two writers.
func NewStreams(outPipe, errPipe *os.File, stdout, stderr io.Writer) *Streams {
	s := &Streams{meeting: newMeeting(), Prefix: newMarkPrefix()}
	s.pumps = [2]*pump{s.newPump(meetStdout, outPipe, stdout), s.newPump(meetStderr, errPipe, stderr)}
	return s
}

func (s *Streams) newPump(who int, from *os.File, to io.Writer) *pump {
	p := &pump{s: s, who: who, from: from, to: to, hurry: make(chan struct{}, 1), done: make(chan struct{})}
	p.cutter = cutter{prefix: []byte(s.Prefix), text: func(data []byte) { _, _ = to.Write(data) }, mark: p.meet}
	return p
}

// Start begins to copy, in goroutines that run starts. buffers has a *[]byte of bufferSize for
// each. stuck is told of a stream that has not ended by the deadline of its pipe.
func (s *Streams) Start(run func(func()), buffers *sync.Pool, stuck func(stream string)) {
	for _, p := range s.pumps {
		run(func() {
			defer close(p.done)
			buf := buffers.Get().(*[]byte)
			defer buffers.Put(buf)
			p.buf = *buf
			err := p.copy()
			s.end(p.who)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				stuck(p.from.Name())
			}
		})
	}
}

// copy reads until the end of the pipe, or a deadline.
func (p *pump) copy() error {
	conn, err := p.from.SyscallConn()
	if err != nil {
		return err
	}
	for {
		n, err := p.read(conn)
		if n <= 0 {
			p.stop(err)
			return err
		}
		p.took(n)
		p.slowDown(n)
	}
}

// stop passes on the rest, unless it may be the beginning of a mark whose end is for drain to read.
func (p *pump) stop(err error) {
	if p.s.draining.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		p.left = bytes.Clone(p.buf[:p.rest])
	} else {
		p.cutter.pass(p.buf[:p.rest])
	}
	p.rest = 0
}

// read waits until there is something, and reads it behind the rest.
func (p *pump) read(conn interface {
	Read(f func(fd uintptr) bool) error
},
) (n int, err error) {
	waited := conn.Read(func(fd uintptr) bool {
		p.setIdle(false)
		for {
			n, err = unix.Read(int(fd), p.buf[p.rest:])
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if errors.Is(err, unix.EAGAIN) {
			p.setIdle(true)
			return false
		}
		return true
	})
	if waited != nil {
		return 0, waited
	}
	return n, err
}

// took passes on n bytes behind the rest.
func (p *pump) took(n int) {
	size := p.rest + n
	p.rest = p.cutter.cut(p.buf[:size], size == len(p.buf))
	copy(p.buf, p.buf[size-p.rest:size])
}

func (p *pump) setIdle(idle bool) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.idle = idle
	if !idle {
		p.turns++
	}
	if idle || p.s.closed {
		p.s.moved.Broadcast()
	}
}

// meet is called at a mark.
func (p *pump) meet(number int64, meet int) {
	p.s.reach(p.who, number)
	p.s.hurryUp(meet &^ p.who)
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.wait(p.who, number, meet)
}

// wait waits for others to come to a mark; s.mu is held. What came before a mark was written
// before the first pipe got it: a stream that has nothing left has no need to come to it.
func (s *Streams) wait(me int, number int64, meet int) {
	for _, who := range []int{meetStdout, meetStderr, meetFrame} {
		for who != me && meet&who != 0 && s.reached[who] < number && !s.ended[who] && !s.ended[me] {
			if who != meetFrame && s.pumps[who-1].isEmpty() {
				break
			}
			s.moved.Wait()
		}
	}
}

// isEmpty reports whether all that was written has been passed on; s.mu is held.
func (p *pump) isEmpty() bool { return p.idle && isDrained(p.from) }

// slowDown makes a pause in a flood, unless somebody waits for its end.
func (p *pump) slowDown(n int) {
	now := time.Now()
	if n > floodPieces || now.Sub(p.last) > 2*floodPause {
		p.rapid = 0
	}
	p.last = now
	if p.rapid++; p.rapid < floodReads {
		return
	}
	p.s.mu.Lock()
	closed := p.s.closed
	p.s.mu.Unlock()
	if closed {
		return
	}
	pause := time.NewTimer(floodPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-p.hurry:
	}
	p.last = time.Now()
}

// hurryUp ends the pauses of those who are waited for.
func (s *Streams) hurryUp(meet int) {
	for _, p := range s.pumps {
		if meet&p.who != 0 {
			select {
			case p.hurry <- struct{}{}:
			default:
			}
		}
	}
}

// AtFrame calls pass when all that was written before a frame has been passed on, and before
// what was written after it. A mark is in its pipe before the frame is sent: when all that is
// there has been read and the mark was not among it, the code has taken it out, or forged the
// frame. An errFrame is for one out of its turn.
func (s *Streams) AtFrame(f protocol.Frame, pass func()) error {
	if f.In != 0 && f.Mark <= s.frames {
		return fmt.Errorf("%w: mark is out of place", protocol.ErrFrame)
	}
	s.frames = max(s.frames, f.Mark)
	// No frame with a lower number comes any more. A stream that waits for one has a mark that the
	// code has forged, and would not come to this one.
	s.reach(meetFrame, f.Mark-1)
	s.hurryUp(f.In)
	s.mu.Lock()
	s.wait(meetFrame, f.Mark, f.In)
	s.mu.Unlock()
	pass()
	s.reach(meetFrame, f.Mark)
	return nil
}

// isDrained reports whether there is nothing in a pipe.
func isDrained(pipe *os.File) bool {
	conn, err := pipe.SyscallConn()
	if err != nil {
		return true
	}
	left := 0
	err = conn.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return err != nil || left == 0
}

// Release is called when there are no more frames: nobody waits for them, or for more output.
func (s *Streams) Release() {
	s.end(meetFrame)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.hurryUp(meetAll)
}

// LetGo ends all waiting: at the end of an execution the order of what is left matters less
// than that there is an end, whatever marks the code has forged.
func (s *Streams) LetGo() {
	s.mu.Lock()
	s.ended = [len(s.ended)]bool{meetStdout: true, meetStderr: true, meetFrame: true}
	s.moved.Broadcast()
	s.mu.Unlock()
	s.hurryUp(meetAll)
}

// turnsOfPipe are the turns after which all that was in a pipe has been passed on: what was
// being read, what the buffer had room for, and the rest.
const turnsOfPipe = 3

// complete passes on in its order what the code has written until now. It does not wait for
// what others, which the code has left behind, go on writing.
func (s *Streams) complete() {
	s.Release()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pumps {
		for last := p.turns + turnsOfPipe; !s.ended[p.who] && !p.isEmpty() && p.turns < last; {
			s.moved.Wait()
		}
	}
}

// Drain completes the output, and stops the copying.
func (s *Streams) Drain() {
	s.complete()
	s.LetGo()
	s.draining.Store(true)
	for _, p := range s.pumps {
		_ = p.from.SetReadDeadline(time.Unix(1, 0))
	}
	for _, p := range s.pumps {
		<-p.done
		_ = p.from.SetReadDeadline(time.Time{})
	}
	for _, p := range s.pumps {
		p.drain()
	}
}

// Drain reads what is in a pipe now, without waiting for more: others may go on writing to it.
func (p *pump) drain() {
	conn, err := p.from.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool {
		left, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		if err != nil || left == 0 {
			p.cutter.pass(p.left)
			return true
		}
		p.buf = make([]byte, len(p.left)+max(min(left, BufferSize), 2*len(p.cutter.prefix)+markTail))
		p.rest = copy(p.buf, p.left)
		for left > 0 {
			n, err := unix.Read(int(fd), p.buf[p.rest:min(len(p.buf), p.rest+left)])
			if n <= 0 || err != nil {
				break
			}
			p.took(n)
			left -= n
		}
		p.cutter.pass(p.buf[:p.rest])
		return true
	})
}
