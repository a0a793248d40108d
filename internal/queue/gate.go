package queue

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// minForeign and foreignPerQueue say how many answered commands without a
	// dequeue among them mean that the gate does not recognise asynq's. Next to the
	// dequeues, asynq runs about 4 commands and 2 per queue when it starts and then
	// 3 in 5 s, while unrecognised dequeues come thousands of times a second.
	minForeign      = 40
	foreignPerQueue = 4
	// sickAfter handler errors in a row the gate slows the server down, so that a
	// runner that can start nothing does not eat what a healthy one could do.
	sickAfter = 3
	// maxHeld is how long a dequeue may be held and still be sent. asynq sets the end
	// of the task's lease, 30 s ahead, before it sends the command: a task taken with
	// an old one would be cut off as if its server had died. A dequeue that was held
	// longer is answered "empty", and asynq makes a new one within 0.2 ms. It must be
	// longer than all pauses of the gate together, which are a second each: a dequeue
	// after a pause has to be sent.
	maxHeld = 4 * time.Second
	// known is how long a queue without tasks is not asked again. It is as much as a
	// task of it that has come meanwhile and goes first can be late by: the next dequeue
	// tells of it.
	known = 100 * time.Millisecond
	// certain is how long nothing at all is reason enough to park: until more tasks can
	// have come than there are tokens, see maxTokens.
	certain = 10 * time.Millisecond
	// stopTimeout bounds the commands that tidy up behind a Stop.
	stopTimeout = 5 * time.Second
)

// gate is a redis.Hook on the client of one asynq server. asynq asks each of its
// queues in turn with the dequeue script, and polls. The gate lets dequeues pass
// until every queue has been found empty, and holds the next one until there is a
// reason for it. It also slows asynq, which retries at once, while Redis is down.
//
// Each dequeue that it sends brings back which queues have nothing, so that asynq is
// told so without a trip when it asks for those next. And it takes a token along, of
// its queue, unless the gate has that of a wait: a task and a token for each other, so
// that none is left when a busy server has taken all tasks.
//
// That is why no task is left lying. A server parks only after it has seen that there
// is none. A task that comes later is followed by a token, and whoever takes that goes
// on to take a task of the same queue, or finds that others have taken them all: so
// there are never fewer tokens than tasks that came after the look of a server that is
// parked, but for those that maxTokens cuts off, and then there are many. It does not
// matter that a token which was pushed before a look can be taken by a server that
// parks later; it is one too many then. Where a token is lost, with a server or a
// connection, idle servers find the task in IdlePoll.
type gate struct {
	queues int // of the server
	park   parker
	log    *slog.Logger
	// polling lets dequeues pass as asynq makes them: the gate only keeps them back in a
	// pause, and while Redis or the server is sick.
	polling bool

	recognised chan struct{} // closed by the first dequeue that was recognised
	foreign    chan struct{} // closed when there should have been one long ago
	doubtful   func()        // called when a dequeue failed; must not block
	stopped    chan struct{} // closed by stop

	recogniseOnce, foreignOnce, stopOnce sync.Once

	others    atomic.Int64   // answered commands that are no dequeue
	passive   atomic.Bool    // let everything pass: the server polls
	parked    atomic.Bool    // a BLPOP may be under way
	sick      atomic.Int64   // handler errors in a row
	unwell    atomic.Bool    // the last one has not been paid for with a pause
	goroutine sync.WaitGroup // BLPOPs, and what hands on a token that came too late

	holdMu sync.Mutex
	held   chan struct{} // nil unless the server is to take nothing; closed when it may again

	// The rest belongs to the one goroutine of asynq that dequeues.
	pending map[string]struct{} // keys of the queues' lists, as seen in dequeues
	// empty are those of them that were found empty since the last task or token. To
	// count the empty answers is not enough: asynq shuffles the queues of each round,
	// and a round may begin with a dequeue that is not sent.
	empty map[string]struct{}
	// none are those that had no list after the last dequeue, which was sent at looked.
	// A queue that is paused is empty and yet not among them.
	none   map[string]struct{}
	looked time.Time
	// token is the queue of the token that ended the last wait, until its list has been
	// asked: the others are not asked meanwhile.
	token  string
	passed int // dequeues that were left out for it
	// inHand tells that Redis did not know the script of the last dequeue: the one that
	// go-redis sends now, with the script itself, is for the same token.
	inHand      bool
	dequeueFail backoff
	parkFail    backoff
}

// parker is what the gate needs of Redis.
type parker interface {
	// wait blocks until a token comes and returns its queue, "" if there was none
	// for the length of the idle poll.
	wait() (queue string, err error)
	// release ends a wait.
	release(ctx context.Context) error
	// dequeue sends cmd, by next or in a pipeline, and returns its error. If it can do
	// that in the same trip, it takes a token of a queue along before, if one is
	// named, and tells afterwards which of the lists do not exist; else none is nil.
	dequeue(ctx context.Context, next redis.ProcessHook, cmd redis.Cmder, token string, lists map[string]struct{}) (none []string, err error)
	// anyPending tells whether one of the lists has a task.
	anyPending(keys map[string]struct{}) (bool, error)
	// wake gives back a token.
	wake(ctx context.Context, queue string) error
}

func newGate(queues int, park parker, log *slog.Logger) *gate {
	return &gate{
		doubtful:   func() {},
		queues:     queues,
		park:       park,
		log:        log,
		recognised: make(chan struct{}),
		foreign:    make(chan struct{}),
		stopped:    make(chan struct{}),
		pending:    make(map[string]struct{}, queues),
		empty:      make(map[string]struct{}, queues),
		none:       make(map[string]struct{}, queues),
	}
}

// isDequeue recognises asynq's dequeue script: EVALSHA, or EVAL when Redis does
// not know the script yet, with the keys pending, paused, active and lease of a
// queue, and two arguments. TestDequeueShape pins that to the asynq in go.mod.
func isDequeue(cmd redis.Cmder) (pendingKey string, ok bool) {
	args := cmd.Args()
	if len(args) != 9 || (cmd.Name() != "evalsha" && cmd.Name() != "eval") {
		return "", false
	}
	if paused, ok := args[4].(string); !ok || !strings.HasSuffix(paused, ":paused") {
		return "", false
	}
	pendingKey, ok = args[3].(string)
	return pendingKey, ok
}

// DialHook lets every connection pass.
func (g *gate) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook lets every pipeline pass: asynq dequeues one by one.
func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook is the gate.
func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		key, ok := isDequeue(cmd)
		if ok {
			g.recogniseOnce.Do(func() { close(g.recognised) })
		}
		if !ok || g.passive.Load() {
			err := next(ctx, cmd)
			g.countForeign(err)
			return err
		}
		if g.polling {
			return g.poll(ctx, next, cmd, key)
		}
		g.pending[key] = struct{}{}
		admitted, token := g.admit(), queueOf(key)
		if g.token != "" || g.inHand {
			token = "" // that which ended the wait, or went with a script unknown, will do
		}
		if !admitted || g.passOver(key) || g.isNone(key) {
			g.inHand = false
			// "Queue is empty" makes asynq look whether it should stop, and then go on
			// to the next queue.
			cmd.SetErr(redis.Nil)
			return redis.Nil
		}
		g.looked = time.Now() // or later: the answer may be long on its way
		none, err := g.park.dequeue(ctx, next, cmd, token, g.pending)
		g.note(key, none, err)
		return err
	}
}

// poll sends a dequeue as it is, unless there is a reason against taking tasks.
func (g *gate) poll(ctx context.Context, next redis.ProcessHook, cmd redis.Cmder, key string) error {
	began := time.Now()
	if !g.mayTake() || time.Since(began) >= maxHeld {
		cmd.SetErr(redis.Nil)
		return redis.Nil
	}
	err := next(ctx, cmd)
	g.note(key, nil, err)
	return err
}

// queueOf returns the name of the queue whose tasks wait in the list at key.
func queueOf(key string) string {
	return strings.TrimSuffix(strings.TrimPrefix(key, "asynq:{"), "}:pending")
}

// passOver reports whether to leave out a dequeue because the token is for another
// queue. It does so until that one's turn has come, for a round at most.
func (g *gate) passOver(key string) bool {
	if g.token == "" {
		return false
	}
	g.passed++
	if g.passed < g.queues && queueOf(key) != g.token {
		return true
	}
	g.token = ""
	return false
}

// isNone reports whether the list at key did not exist a moment ago.
func (g *gate) isNone(key string) bool {
	_, ok := g.none[key]
	return ok
}

// note draws the conclusions from the answer to a dequeue of the list at key. It
// must be given the error that next returned: the command's own is not set yet
// inside a hook, and with that one the gate would never close.
func (g *gate) note(key string, none []string, err error) {
	g.inHand = redis.HasErrorPrefix(err, "NOSCRIPT")
	clear(g.none)
	for _, list := range none {
		g.none[list] = struct{}{}
	}
	switch {
	case err == nil:
		clear(g.empty)
	case errors.Is(err, redis.Nil):
		g.empty[key] = struct{}{}
	case g.inHand:
		return // go-redis sends the script itself now; that answer counts
	default:
		// asynq gives up the round and starts another one at once.
		clear(g.empty)
		g.dequeueFail.failed()
		g.doubtful()
		g.report("queue: cannot take tasks off Redis", err, &g.dequeueFail)
		return
	}
	g.recovered("queue: takes tasks again", &g.dequeueFail)
}

// admit blocks a dequeue until it is worth while. It reports false once stopped,
// and for a dequeue that was held too long to be used.
func (g *gate) admit() bool {
	held := time.Now()
	if g.hold() && time.Since(held) < maxHeld {
		return true
	}
	g.token = "" // this may have been its queue's turn: the next round asks all
	return false
}

// mayTake blocks while the server is to take nothing, and slows it down while it or Redis is
// sick. It reports false once stopped.
func (g *gate) mayTake() bool {
	if !g.awaitResume() {
		return false
	}
	if n := g.sick.Load(); n >= sickAfter && g.unwell.Swap(false) && !g.sleep(delayAfter(int(n)-sickAfter+1)) {
		return false
	}
	if d := g.dequeueFail.delay(); d > 0 && !g.sleep(d) {
		return false
	}
	return !g.isStopped()
}

// hold does the blocking of admit. It reports false once stopped.
func (g *gate) hold() bool {
	if !g.mayTake() {
		return false
	}
	if !g.idle() {
		return true
	}
	clear(g.empty)
	clear(g.none)
	for {
		queue, err := g.wait()
		switch {
		case g.isStopped():
			return false
		case err != nil:
			g.parkFail.failed()
			g.report("queue: cannot wait for tasks, polling slowly", err, &g.parkFail)
			return g.sleep(g.parkFail.delay())
		}
		g.recovered("queue: waits for tasks again", &g.parkFail)
		if g.isHeld() {
			// The token is for somebody who can do something for it.
			g.handOn(queue)
			return g.awaitResume()
		}
		if queue != "" {
			g.token, g.passed = queue, 0
			return true
		}
		// No token for a while. A task may be there none the less: its token was
		// lost with a server, or asynq itself put it back (retry, recovery). To look
		// is one command, a round of dequeues three per queue. An error of the look
		// is left for the dequeue to run into.
		if found, err := g.park.anyPending(g.pending); found || err != nil {
			return true
		}
	}
}

// idle reports whether there is nothing to be taken, as far as is known.
func (g *gate) idle() bool {
	age := time.Since(g.looked)
	if age > known {
		clear(g.none)
	}
	for key := range g.pending {
		if _, empty := g.empty[key]; !empty && !g.isNone(key) {
			return false
		}
	}
	if age > certain {
		clear(g.none) // so that they are asked
		return len(g.empty) == g.queues
	}
	return len(g.pending) == g.queues
}

// wait parks in BLPOP until there is a token, the idle poll ends or stop is
// called. BLPOP needs a goroutine, because go-redis does not give up a read when
// its context ends.
func (g *gate) wait() (queue string, err error) {
	g.parked.Store(true)
	if g.isStopped() {
		return "", nil
	}
	type answer struct {
		queue string
		err   error
	}
	answers := make(chan answer)
	g.goroutine.Go(func() {
		queue, err := g.park.wait()
		g.parked.Store(false)
		select {
		case answers <- answer{queue, err}:
		case <-g.stopped:
			g.handOn(queue)
		}
	})
	select {
	case a := <-answers:
		if g.isStopped() {
			g.goroutine.Go(func() { g.handOn(a.queue) })
		}
		return a.queue, a.err
	case <-g.stopped:
		return "", nil
	}
}

// handOn gives a token that came after stop to another server: the task that it
// stands for would wait for somebody's idle poll.
func (g *gate) handOn(queue string) {
	if queue == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := g.park.wake(ctx, queue); err != nil {
		g.log.Warn("queue: could not hand on a wake token", slog.Any("err", err))
	}
}

// pause lets no dequeue pass until resume, and ends a wait for a token, which others need.
func (g *gate) pause() {
	g.holdMu.Lock()
	defer g.holdMu.Unlock()
	if g.held == nil {
		g.held = make(chan struct{})
		g.unpark()
	}
}

// resume is the end of a pause. What went wrong before it counts no more.
func (g *gate) resume() {
	g.holdMu.Lock()
	defer g.holdMu.Unlock()
	if g.held != nil {
		close(g.held)
		g.held = nil
		g.sick.Store(0)
		g.unwell.Store(false)
	}
}

func (g *gate) isHeld() bool {
	g.holdMu.Lock()
	defer g.holdMu.Unlock()
	return g.held != nil
}

// awaitResume waits for the end of a pause, if there is one. It reports false once stopped.
func (g *gate) awaitResume() bool {
	for {
		g.holdMu.Lock()
		held := g.held
		g.holdMu.Unlock()
		if held == nil {
			return true
		}
		select {
		case <-held:
		case <-g.stopped:
			return false
		}
	}
}

// stop lets no dequeue pass any more and returns at once.
func (g *gate) stop() {
	g.stopOnce.Do(func() {
		close(g.stopped)
		g.unpark()
	})
}

// unpark ends a wait for a token, if there is one. A gate that is about to park sees first
// that it is stopped; one that is paused then waits once more, for its idle poll at most.
func (g *gate) unpark() {
	if !g.parked.Load() {
		return
	}
	g.goroutine.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := g.park.release(ctx); err != nil {
			g.log.Debug("queue: the wait for tasks ends by itself", slog.Any("err", err))
		}
	})
}

func (g *gate) isStopped() bool {
	select {
	case <-g.stopped:
		return true
	default:
		return false
	}
}

// sleep reports false if stop came first.
func (g *gate) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-g.stopped:
		return false
	}
}

// countForeign notices that Redis answers and yet nothing looks like a dequeue.
// Errors do not count: they are Redis being down, not asynq being different.
func (g *gate) countForeign(err error) {
	if err != nil && !errors.Is(err, redis.Nil) {
		return
	}
	if g.others.Add(1) >= int64(minForeign+foreignPerQueue*g.queues) {
		g.foreignOnce.Do(func() { close(g.foreign) })
	}
}

// handled is told how each handler ended.
func (g *gate) handled(err error) {
	if err == nil {
		g.sick.Store(0)
		return
	}
	g.sick.Add(1)
	g.unwell.Store(true)
}

func (g *gate) report(msg string, err error, b *backoff) {
	if b.shouldLog() {
		g.log.Warn(msg, slog.Any("err", err), slog.Duration("next_try", b.delay()))
	}
}

func (g *gate) recovered(msg string, b *backoff) {
	if n := b.reset(); n > 0 {
		g.log.Info(msg, slog.Int("failures", n))
	}
}
