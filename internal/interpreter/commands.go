package interpreter

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaa-run/kaa/internal/process"
)

// commands is the runner's view of the process that starts a session's commands: see commands.py. The
// first command makes the slot fork it.
type commands struct {
	s atomic.Pointer[Session] // the one with the present interpreter
	// beginning is held while the process is made.
	beginning sync.Mutex
	// exceeded: without control groups, the session has used more memory than its limit.
	exceeded atomic.Bool

	writing sync.Mutex
	link    process.Link
	pidfd   *os.File
	gone    chan struct{} // closed once the process has ended; nil if there was none

	mu     sync.Mutex
	closed bool
	last   int // the number of the last command
	all    map[int]*Command
}

// beginCommands makes the process that starts commands, unless there is one.
func (s *Session) beginCommands() (*commands, error) {
	c := s.commands
	c.beginning.Lock()
	defer c.beginning.Unlock()
	if c.isClosed() {
		return nil, ErrClosed
	}
	if c.gone != nil {
		return c, nil
	}
	link, theirs, err := process.NewLink("commands")
	if err != nil {
		return nil, err
	}
	m, err := s.w.askSlot("B", int(theirs.Fd()))
	_ = theirs.Close()
	if err == nil && m.File == nil {
		err = errors.New("no process came with the answer")
	}
	if err != nil {
		link.Close()
		return nil, fmt.Errorf("make the process that starts commands: %w", err)
	}
	// The control group counts the time of commands, too, from now on.
	if pid := process.OldestChild(s.w.slot.pid); s.w.pid.Load() == 0 {
		s.w.countApart(pid)
	}
	c.s.Store(s)
	c.link, c.pidfd, c.all, c.gone = link, m.File, map[int]*Command{}, make(chan struct{})
	go c.listen()
	if s.w.slot.group == nil {
		go c.watchMemory()
	}
	return c, nil
}

func newCommands() *commands { return &commands{} }

// begun reports whether the process that starts commands was made.
func (c *commands) begun() bool {
	c.beginning.Lock()
	defer c.beginning.Unlock()
	return c.gone != nil
}

func (c *commands) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// add gives a command its number.
func (c *commands) add(command *Command) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.gone:
		return 0, ErrClosed
	default:
	}
	if c.closed {
		return 0, ErrClosed
	}
	c.last++
	c.all[c.last] = command
	return c.last, nil
}

func (c *commands) remove(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, id)
}

func (c *commands) send(r commandRequest) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.link.Send(r)
}

// sendText sends a request with its texts behind it.
func (c *commands) sendText(r commandRequest, text []byte, fds ...int) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.link.SendText(r, text, fds...)
}

// listen passes messages on to the commands, until the process has ended.
func (c *commands) listen() {
	defer close(c.gone)
	for {
		m, file, err := c.link.Receive()
		if err != nil {
			break
		}
		m.File = file
		c.mu.Lock()
		command := c.all[m.ID]
		c.mu.Unlock()
		if command == nil || !command.receive(m) {
			if file != nil {
				_ = file.Close()
			}
		}
	}
	c.lose()
}

// receive takes a message about the command. It reports whether it has taken over the file.
func (c *Command) receive(m process.Message) bool {
	switch m.Type {
	case "started", "refused", "socket":
		c.answer <- m
		return true
	case "signalled":
		select {
		case c.signalled <- m:
		default:
		}
	case "ended":
		c.over(m)
	case "killed": // once for each request
		c.gone()
	}
	return false
}

// gone records that none of the command's processes is left. One goroutine calls it.
func (c *Command) gone() {
	select {
	case <-c.killed:
	default:
		close(c.killed)
	}
}

// lose records that the process has ended, and with it all commands. If the session goes on, its code
// has killed the process, or a part of Kaa has failed. Nothing finds all processes of the commands
// then, so the session ends.
func (c *commands) lose() {
	if !c.isClosed() && !c.s.Load().w.exitsWithin(normalExit) { // usually the whole sandbox has ended
		c.endSession("interpreter: the process that starts commands has ended; ending the session")
		c.s.Load().w.exitsWithin(lastResort)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, command := range c.all {
		delete(c.all, id)
		command.lose()
	}
}

// lose records that the process that starts commands has ended.
func (c *Command) lose() {
	select {
	case <-c.ended:
	default:
		c.lost = true
		close(c.ended)
	}
	c.gone()
}

// abandon ends the session, because the process does not answer.
func (c *commands) abandon() {
	c.endSession("interpreter: the process that starts commands does not answer; ending the session")
}

// endSession kills the slot with all its processes, unless the session is being closed. Then the slot
// may have another worker soon.
func (c *commands) endSession(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.s.Load().w.pool.cfg.Log.Warn(why, slog.String("session_id", c.s.Load().w.id))
		c.s.Load().w.slot.kill()
	}
}

// watchMemory ends the session if its processes need more memory than their limit. Without control groups
// only executions are watched otherwise.
func (c *commands) watchMemory() {
	for {
		select {
		case <-c.gone:
			return
		case <-time.After(laterLook):
		}
		if c.s.Load().w.slot.exceeds(c.s.Load().quota.MemoryBytes) {
			c.exceeded.Store(true)
			c.endSession("interpreter: the processes of a session need more memory than its limit; ending the session")
			return
		}
	}
}

// closeCommands ends all commands of the session, and allows no others.
func (s *Session) closeCommands() {
	c := s.commands
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.beginning.Lock()
	defer c.beginning.Unlock()
	if c.gone == nil {
		return
	}
	c.link.Close() // ends the process, and it ends the commands
	if !process.Ended(c.pidfd, killTime) {
		s.w.pool.cfg.Log.Warn("interpreter: the process that starts commands does not end", slog.String("session_id", s.w.id))
		s.w.slot.kill()
	}
	<-c.gone
	_ = c.pidfd.Close()
}
