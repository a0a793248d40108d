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

// BufferSize is the most bytes that one read takes: the capacity of a pipe.
const BufferSize = 64 << 10

const (
	// Output in many small pieces is read about once in floodPause, because waking the reader
	// costs the code more than writing a line does.
	floodPause  = time.Millisecond
	floodReads  = 16             // this many pieces, less than two floodPauses apart, are a flood
	floodPieces = BufferSize / 4 // the largest piece of a flood: the pipe would not hold more of larger ones
)

// Streams copies stdout and stderr of an execution until their end, or until Drain.
type Streams struct {
	*meeting
	Prefix string
	pumps  [2]*pump
	frames int64 // the mark of the last frame; only the goroutine that reads frames uses it
	closed bool  // guarded by mu: there are no more frames, so pumps make no more pauses
	// draining is set when Drain has set the deadline of the pipes. Drain reads the rest then.
	draining atomic.Bool
	moves    atomic.Int64 // counts reads from the pipes and frames
}

// pump copies one stream.
type pump struct {
	s    *Streams
	who  int
	from *os.File
	to   io.Writer
	// idle is set while the pump has passed on everything in the pipe. turns counts how often it
	// had passed on everything that it had read. Both are guarded by s.mu.
	idle  bool
	turns int
	hurry chan struct{} // has room for one
	done  chan struct{} // closed when it has stopped

	cutter cutter
	buf    []byte
	rest   int    // the number of bytes at the beginning of buf from earlier reads
	left   []byte // the beginning of a mark that the pump had when Drain stopped it
	last   time.Time
	rapid  int
}

// NewStreams returns streams that copy two pipes to two writers, once Start is called.
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

// Start begins to copy, in goroutines that run starts. Each takes a *[]byte of BufferSize from
// buffers. Start calls stuck for a stream that has not ended by the deadline of its pipe.
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

// stop passes on the rest. After a stop by Drain it keeps the rest in left, because Drain may read
// the end of a mark that begins there.
func (p *pump) stop(err error) {
	if p.s.draining.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		p.left = bytes.Clone(p.buf[:p.rest])
	} else {
		p.cutter.pass(p.buf[:p.rest])
	}
	p.rest = 0
}

// read waits until the pipe has data, and reads it behind the rest.
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
	p.s.moves.Add(1)
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

// meet is called for each mark in the stream. It waits for the other parties of the mark.
func (p *pump) meet(number int64, meet int) {
	p.s.reach(p.who, number)
	p.s.hurryUp(meet &^ p.who)
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.wait(p.who, number, meet)
}

// wait waits until the other parties reach a mark; the caller holds s.mu. Everything before a mark
// was written before the first pipe got the mark. So a stream with an empty pipe need not reach it.
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

// isEmpty reports whether all bytes written have been passed on; the caller holds s.mu.
func (p *pump) isEmpty() bool { return p.idle && isDrained(p.from) }

// slowDown makes a pause in a flood, unless another goroutine waits for this stream.
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

// hurryUp ends the pauses of the pumps in a set of parties.
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

// AtFrame calls pass after all output written before a frame is passed on, and before any output
// written after it. The worker writes a mark to its pipe before it sends the frame. If the pipe is
// empty and the mark was not in it, the code has removed the mark or forged the frame, and AtFrame
// does not wait for it. It returns ErrFrame for a frame out of its order.
func (s *Streams) AtFrame(f protocol.Frame, pass func()) error {
	defer s.moves.Add(1)
	if f.In != 0 && f.Mark <= s.frames {
		return fmt.Errorf("%w: mark is out of place", protocol.ErrFrame)
	}
	s.frames = max(s.frames, f.Mark)
	// No frame with a lower number follows. A stream that waits for one has a mark that the code
	// has forged. This call releases it, because it would not reach this mark otherwise.
	s.reach(meetFrame, f.Mark-1)
	s.hurryUp(f.In)
	s.mu.Lock()
	s.wait(meetFrame, f.Mark, f.In)
	s.mu.Unlock()
	pass()
	s.reach(meetFrame, f.Mark)
	return nil
}

// isDrained reports whether a pipe is empty.
func isDrained(pipe *os.File) bool {
	conn, err := pipe.SyscallConn()
	if err != nil {
		return true
	}
	left := 0
	err = conn.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return err != nil || left == 0
}

// Moves returns a number that grows while output or frames are passed on.
func (s *Streams) Moves() int64 { return s.moves.Load() }

// Release is called after the last frame. Streams then wait for no more frames, and make no more
// pauses.
func (s *Streams) Release() {
	s.end(meetFrame)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.hurryUp(meetAll)
}

// LetGo ends all waiting. At the end of an execution, the order of the remaining output matters
// less than that the execution ends, whatever marks the code has forged.
func (s *Streams) LetGo() {
	s.mu.Lock()
	s.ended = [len(s.ended)]bool{meetStdout: true, meetStderr: true, meetFrame: true}
	s.moved.Broadcast()
	s.mu.Unlock()
	s.hurryUp(meetAll)
}

// turnsOfPipe is the number of turns after which everything that was in a pipe is passed on. One
// is for the current read, one for as much as the buffer has room for, and one for the rest.
const turnsOfPipe = 3

// complete passes on, in order, the output written until now. It does not wait for later output of
// processes that the code has left behind.
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

// drain reads the bytes that are in the pipe now. It does not wait for more, because other processes
// may still write to the pipe.
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
