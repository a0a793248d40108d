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
	// minForeign and foreignPerQueue set the number of answered commands without a dequeue among
	// them after which the gate gives up recognising asynq's. Besides the dequeues, asynq runs
	// about 4 commands and 2 per queue when it starts, and then 3 in 5 s. Unrecognised dequeues
	// come thousands of times a second.
	minForeign      = 40
	foreignPerQueue = 4
	// After slowAfter handler errors in a row the gate slows the server down, so that a broken
	// runner leaves the tasks to healthy ones.
	slowAfter = 3
	// maxHeld is the longest time for which a dequeue may be held and still be sent. asynq sets
	// the end of the task's lease, 30 s ahead, before it sends the command. A task taken with an
	// old one would be cut off as if its server had died. So a dequeue that was held longer is
	// answered "empty", and asynq makes a new one within 0.2 ms. It must be longer than all
	// pauses of the gate together, which are a second each, because a dequeue after a pause has
	// to be sent.
	maxHeld = 4 * time.Second
	// emptyFor is the time for which an empty queue is skipped. A task that arrives meanwhile is
	// late by at most this, since the next dequeue reports it.
	emptyFor = 100 * time.Millisecond
	// parkAfter is the time for which an empty answer suffices for parking: until more tasks can
	// have come than there are tokens, see maxTokens.
	parkAfter = 10 * time.Millisecond
	// stopTimeout bounds the commands that clean up after a Stop.
	stopTimeout = 5 * time.Second
)

// gate is a redis.Hook on the client of one asynq server. asynq polls: it queries its
// queues in turn with the dequeue script. The gate lets dequeues pass until every queue
// has been found empty, and holds the next one until there is a reason for it. It also
// slows asynq, which retries at once, while Redis is down.
//
// Each dequeue that it sends also returns which queues are empty. When asynq goes on to
// one of them, the gate answers without a round trip. The dequeue also takes a token of
// its queue along, unless the gate has one from a wait. So a task and a token leave
// together, and none is left when a busy server has taken all tasks.
//
// Therefore no task is left behind. A server parks only after it has seen that there is
// none. A later task is followed by a token. The server that takes the token goes on to
// take a task of the same queue, or finds that others have taken them all. So there are
// never fewer tokens than tasks that came after the check of a parked server. The
// exception are tokens that maxTokens cuts off, and then there are many. A token that was
// pushed before a check may be taken by a server that parks later; that is one too many,
// and harmless. If a token is lost, with a server or a connection, idle servers find the
// task in IdlePoll.
type gate struct {
	queues int // of the server
	park   parker
	log    *slog.Logger
	// polling lets dequeues pass as asynq makes them. The gate then only holds them in a pause,
	// and while Redis or the server fails.
	polling bool

	recognised chan struct{} // closed by the first dequeue that was recognised
	foreign    chan struct{} // closed when the first dequeue is overdue
	doubtful   func()        // called when a dequeue failed; must not block
	stopped    chan struct{} // closed by stop

	recogniseOnce, foreignOnce, stopOnce sync.Once

	others    atomic.Int64   // answered commands that are no dequeue
	passive   atomic.Bool    // lets everything pass: the server polls
	parked    atomic.Bool    // a BLPOP may be under way
	failures  atomic.Int64   // handler errors in a row
	pauseOwed atomic.Bool    // the pause for the last one is still owed
	goroutine sync.WaitGroup // BLPOPs, and passing on of late tokens

	holdMu sync.Mutex
	held   chan struct{} // nil unless the server is paused; closed by resume

	// The rest belongs to the one goroutine of asynq that dequeues.
	pending map[string]struct{} // keys of the queues' lists, as seen in dequeues
	// empty are the queues that were found empty since the last task or token. Counting the
	// empty answers is not enough: asynq shuffles the queues of each round, and a round may
	// begin with a dequeue that is not sent.
	empty map[string]struct{}
	// none are the queues that had no list after the last dequeue, which was sent at looked. A
	// paused queue is empty and yet not among them.
	none   map[string]struct{}
	looked time.Time
	// token is the queue of the token that ended the last wait, until its list has been queried.
	// The other queues are skipped meanwhile.
	token  string
	passed int // dequeues that were skipped for it
	// retryingWithSource: Redis did not know the script of the last dequeue. go-redis now sends
	// the script itself, and that dequeue uses the same token.
	retryingWithSource bool
	dequeueFail        backoff
	parkFail           backoff
}

// parker has the operations of the gate on Redis.
type parker interface {
	// wait blocks until a token comes and returns its queue, "" if there was none
	// for the length of the idle poll.
	wait() (queue string, err error)
	// release ends a wait.
	release(ctx context.Context) error
	// dequeue sends cmd, by next or in a pipeline, and returns its error. If one round trip
	// suffices, it takes a token of the named queue before, and returns which of the lists do
	// not exist; otherwise none is nil.
	dequeue(ctx context.Context, next redis.ProcessHook, cmd redis.Cmder, token string, lists map[string]struct{}) (none []string, err error)
	// anyPending reports whether one of the lists has a task.
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
		if g.token != "" || g.retryingWithSource {
			token = "" // the token that ended the wait, or came with an unknown script, suffices
		}
		if !admitted || g.passOver(key) || g.isNone(key) {
			g.retryingWithSource = false
			// "Queue is empty" makes asynq check whether it should stop, and then go on to the
			// next queue.
			cmd.SetErr(redis.Nil)
			return redis.Nil
		}
		g.looked = time.Now() // or later: the answer may be long on its way
		none, err := g.park.dequeue(ctx, next, cmd, token, g.pending)
		g.note(key, none, err)
		return err
	}
}

// poll sends a dequeue as it is, unless the server is paused or failing.
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

// passOver reports whether to skip a dequeue because the token is for another queue. It does so
// until that queue's turn, for a round at most.
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

// note evaluates the answer to a dequeue of the list at key. It must get the error that next
// returned. The command's own is not set yet inside a hook; with that one the gate would never
// close.
func (g *gate) note(key string, none []string, err error) {
	g.retryingWithSource = redis.HasErrorPrefix(err, "NOSCRIPT")
	clear(g.none)
	for _, list := range none {
		g.none[list] = struct{}{}
	}
	switch {
	case err == nil:
		clear(g.empty)
	case errors.Is(err, redis.Nil):
		g.empty[key] = struct{}{}
	case g.retryingWithSource:
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

// admit blocks a dequeue until it can succeed. It reports false once stopped, and for a dequeue
// that was held too long to be used.
func (g *gate) admit() bool {
	held := time.Now()
	if g.hold() && time.Since(held) < maxHeld {
		return true
	}
	g.token = "" // this may have been its queue's turn: the next round queries all
	return false
}

// mayTake blocks while the server is paused, and slows it down while it or Redis fails. It
// reports false once stopped.
func (g *gate) mayTake() bool {
	if !g.awaitResume() {
		return false
	}
	if n := g.failures.Load(); n >= slowAfter && g.pauseOwed.Swap(false) && !g.sleep(delayAfter(int(n)-slowAfter+1)) {
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
			// The token is passed to a server that can use it.
			g.handOn(queue)
			return g.awaitResume()
		}
		if queue != "" {
			g.token, g.passed = queue, 0
			return true
		}
		// No token came for a while. There may be a task all the same: its token was lost with a
		// server, or asynq itself put it back (retry, recovery). The check is one command; a
		// round of dequeues is three per queue. The dequeue will meet an error of the check
		// itself.
		if found, err := g.park.anyPending(g.pending); found || err != nil {
			return true
		}
	}
}

// idle reports whether all queues are known to be empty.
func (g *gate) idle() bool {
	age := time.Since(g.looked)
	if age > emptyFor {
		clear(g.none)
	}
	for key := range g.pending {
		if _, empty := g.empty[key]; !empty && !g.isNone(key) {
			return false
		}
	}
	if age > parkAfter {
		clear(g.none) // so that the gate queries them
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

// handOn passes a token that came after stop to another server. Otherwise its task would wait
// for an idle poll.
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

// pause lets no dequeue pass until resume, and ends a wait for a token, which other servers
// need.
func (g *gate) pause() {
	g.holdMu.Lock()
	defer g.holdMu.Unlock()
	if g.held == nil {
		g.held = make(chan struct{})
		g.unpark()
	}
}

// resume ends a pause. Earlier errors count no more.
func (g *gate) resume() {
	g.holdMu.Lock()
	defer g.holdMu.Unlock()
	if g.held != nil {
		close(g.held)
		g.held = nil
		g.failures.Store(0)
		g.pauseOwed.Store(false)
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

// unpark ends a wait for a token, if there is one. A gate that is about to park first sees that
// it is stopped. A paused one then waits once more, for its idle poll at most.
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

// countForeign notices that Redis answers and no command is recognised as a dequeue. Errors do
// not count: they mean that Redis is down, not that asynq is different.
func (g *gate) countForeign(err error) {
	if err != nil && !errors.Is(err, redis.Nil) {
		return
	}
	if g.others.Add(1) >= int64(minForeign+foreignPerQueue*g.queues) {
		g.foreignOnce.Do(func() { close(g.foreign) })
	}
}

// handled receives the outcome of each handler.
func (g *gate) handled(err error) {
	if err == nil {
		g.failures.Store(0)
		return
	}
	g.failures.Add(1)
	g.pauseOwed.Store(true)
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
