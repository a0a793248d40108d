package runner

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/kaa-run/kaa/internal/job"
)

// recordedMessages are the messages to a command, as the store has them.
type recordedMessages struct {
	CommandRecords

	mu       sync.Mutex
	stored   []job.StoredMessage
	last     int  // the number of messages so far
	readable bool // CommandMessages and TookMessages work
}

func (s *recordedMessages) tell(m job.CommandMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.stored = append(s.stored, job.StoredMessage{ID: fmt.Sprintf("%06d", s.last), CommandMessage: m})
}

// CommandMessages returns few messages at once.
func (s *recordedMessages) CommandMessages(_ context.Context, _, after string) (came []job.StoredMessage, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.readable {
		return nil, job.ErrUnavailable
	}
	for _, m := range s.stored {
		if m.ID > after && len(came) < 3 {
			came = append(came, m)
		}
	}
	return came, nil
}

func (s *recordedMessages) TookMessages(_ context.Context, _ string, ids []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.readable {
		return job.ErrUnavailable
	}
	s.stored = slices.DeleteFunc(s.stored, func(m job.StoredMessage) bool { return slices.Contains(ids, m.ID) })
	return nil
}

func (s *recordedMessages) allow(readable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readable = readable
}

func (s *recordedMessages) isReadable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readable
}

func (s *recordedMessages) ids() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.stored {
		ids = append(ids, m.ID)
	}
	return ids
}

// gate lets what comes through while it is open.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while it is
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) isOpen() bool {
	select {
	case <-g.now():
		return true
	default:
		return false
	}
}

func (g *gate) now() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

func (g *gate) set(open bool) {
	if open == g.isOpen() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if open {
		close(g.open)
	} else {
		g.open = make(chan struct{})
	}
}

// toldCommand takes messages as commands and connections do: input and the others on a goroutine each, until it has ended.
type toldCommand struct {
	reads, handles *gate // input, others
	over           chan struct{}
	taking         sync.WaitGroup

	mu              sync.Mutex
	input, controls []string // ids, as they came
	read, handled   int      // how many of them are done
	early           []string // input that came while another message was not done
}

func (c *toldCommand) begin(m *job.CommandMessages, before func(id string) int) {
	c.taking.Go(func() {
		for {
			select {
			case in := <-m.Input:
				c.note(func() {
					if c.input = append(c.input, in.ID); c.handled < before(in.ID) {
						c.early = append(c.early, in.ID)
					}
				})
				<-c.reads.now()
				c.note(func() { c.read++ })
				m.Taken(in)
			case <-c.over:
				return
			}
		}
	})
	c.taking.Go(func() {
		for {
			select {
			case in := <-m.Control:
				if in.ID == "" {
					continue
				}
				c.note(func() { c.controls = append(c.controls, in.ID) })
				<-c.handles.now()
				c.note(func() { c.handled++ })
			case <-c.over:
				return
			}
		}
	})
}

func (c *toldCommand) note(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// end ends what the command does, as the end of its process does.
func (c *toldCommand) end() {
	close(c.over)
	c.reads.set(true)
	c.handles.set(true)
	c.taking.Wait()
}

// messagesGame is a command with its callers, and what the model knows: the messages in order.
type messagesGame struct {
	records *recordedMessages
	e       *execution
	c       *toldCommand
	begun   bool
	fresh   bool // the runner had a notice of all messages, and could read them

	mu   sync.Mutex
	told []string // "input", "control" or "attach"
}

// before returns how many messages with an effect were sent before the one with an id.
func (g *messagesGame) before(id string) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, kind := range g.told {
		if idOf(i) == id {
			break
		}
		if kind == "control" {
			n++
		}
	}
	return n
}

func idOf(i int) string { return fmt.Sprintf("%06d", i+1) }

// ids are those of the messages of a kind.
func (g *messagesGame) ids(kind string) (ids []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, k := range g.told {
		if k == kind {
			ids = append(ids, idOf(i))
		}
	}
	return ids
}

func (g *messagesGame) tell(kind string, m job.CommandMessage, notice bool) {
	g.mu.Lock()
	g.told = append(g.told, kind)
	g.mu.Unlock()
	g.records.tell(m)
	g.fresh = false
	if notice {
		g.wake()
	}
}

func (g *messagesGame) wake() {
	g.e.wake()
	g.fresh = g.records.isReadable()
}

func (g *messagesGame) step(random *rand.Rand, messages *job.CommandMessages) {
	notice := random.IntN(4) > 0
	switch random.IntN(12) {
	case 0:
		g.tell("input", job.CommandMessage{EOF: true}, notice)
	case 1, 2:
		g.tell("input", job.CommandMessage{Data: []byte("x")}, notice)
	case 3:
		g.tell("control", job.CommandMessage{Signal: "INT"}, notice)
	case 4:
		g.tell("control", job.CommandMessage{Size: &job.TerminalSize{Columns: 1, Rows: 1}}, notice)
	case 5:
		g.tell("attach", job.CommandMessage{Attach: "a follower"}, notice)
	case 6:
		g.c.reads.set(!g.c.reads.isOpen())
	case 7:
		g.c.handles.set(!g.c.handles.isOpen())
	case 8:
		if readable := random.IntN(2) == 0; readable != g.records.isReadable() {
			g.records.allow(readable)
			g.fresh = false
		}
	case 9:
		if !g.begun {
			g.begun = true
			g.c.begin(messages, g.before)
		}
	default:
		g.wake()
	}
}

// check compares the command with the model, when nothing moves any more.
func (g *messagesGame) check() error {
	inputs, controls := g.ids("input"), g.ids("control")
	c := g.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.input, inputs[:min(len(inputs), len(c.input))]) || !slices.Equal(c.controls, controls[:min(len(controls), len(c.controls))]) {
		return fmt.Errorf("it got %v and %v of %v", c.input, c.controls, g.told)
	}
	if len(c.early) > 0 {
		return fmt.Errorf("the input %v came before the effect of another message: %v", c.early, g.told)
	}
	if !g.begun || !g.fresh {
		return nil
	}
	if want := reached(len(controls), c.handled, c.handles.isOpen()); len(c.controls) != want {
		return fmt.Errorf("it got %d messages that are no input, and not %d of %v", len(c.controls), want, g.told)
	}
	free := slices.IndexFunc(inputs, func(id string) bool { return g.before(id) > c.handled })
	if free < 0 {
		free = len(inputs)
	}
	if want := reached(free, c.read, c.reads.isOpen()); len(c.input) != want {
		return fmt.Errorf("it got %d inputs, and not %d of %v", len(c.input), want, g.told)
	}
	if stored := g.records.ids(); c.read == len(inputs) && c.handled == len(controls) && len(stored) > 0 {
		return fmt.Errorf("the store still has %v of %v", stored, g.told)
	}
	return nil
}

// reached is how many messages a command has of those that it may have: all, or one more than are done.
func reached(all, done int, open bool) int {
	if open {
		return all
	}
	return min(all, done+1)
}

// TestMessagesModel: whatever callers send to a command, and however slow it is, it gets each message once and in order. Input waits for messages with an
// effect that were sent before it, and nothing waits for input. The store forgets what the command has taken. Its end waits for nothing.
func TestMessagesModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			g := &messagesGame{records: &recordedMessages{readable: true}, e: &execution{messages: make(chan struct{}, 1)}}
			g.c = &toldCommand{reads: newGate(), handles: newGate(), over: make(chan struct{})}
			g.e.claim.Spec.Command = &job.Command{Input: random.IntN(2) == 0}
			s := &sessions{r: &Runner{cfg: Config{CommandRecords: g.records}}}
			messages, stop := s.passMessages(t.Context(), slog.New(slog.DiscardHandler), g.e)
			var wrong error
			for steps := random.IntN(80); steps > 0 && wrong == nil; steps-- {
				g.step(random, messages)
				if random.IntN(3) > 0 {
					synctest.Wait()
					wrong = g.check()
				}
			}
			g.c.end()
			stop()
			if wrong != nil {
				t.Fatalf("seed %d: %v", seed, wrong)
			}
		})
	}
}
