package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// fault is one thing that goes wrong, at a time after the start, for a while.
type fault struct {
	at, lasts time.Duration
	kind      string
	target    int // which runner or API
}

func (f fault) String() string {
	return fmt.Sprintf("%6.1fs %s %d for %s", f.at.Seconds(), f.kind, f.target, f.lasts)
}

// faults plans what goes wrong: it depends on the seed alone. One process has one
// fault at a time, and Redis too.
func faults(seed uint64, over time.Duration, apis, runners int) []fault {
	r := rand.New(rand.NewPCG(seed, 1<<40))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(r.Int64N(int64(most-least)))
	}
	kinds := []struct {
		name   string
		weight int
		on     string
		least  time.Duration
		most   time.Duration
	}{
		{"runner kill", 6, "runner", 100 * time.Millisecond, 4 * time.Second},
		{"runner freeze", 4, "runner", 500 * time.Millisecond, 16 * time.Second},
		{"runner restart", 4, "runner", 10 * time.Second, 11 * time.Second},
		{"runner cut", 2, "runner", 100 * time.Millisecond, 12 * time.Second},
		{"api kill", 3, "api", 100 * time.Millisecond, 3 * time.Second},
		{"api freeze", 2, "api", 500 * time.Millisecond, 5 * time.Second},
		{"api restart", 2, "api", 10 * time.Second, 11 * time.Second},
		{"api cut", 1, "api", 100 * time.Millisecond, 4 * time.Second},
		{"redis kill", 2, "redis", 100 * time.Millisecond, 3 * time.Second},
		{"redis freeze", 1, "redis", 500 * time.Millisecond, 9 * time.Second},
		{"script flush", 2, "", 0, 1},
		{"client kill", 3, "", 0, 1},
		{"reset all", 2, "", 0, 1},
		{"slow", 1, "redis", time.Second, 4 * time.Second},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	busy := map[string]time.Duration{} // until when
	var plan []fault
	for at := 2 * time.Second; at < over; at += between(300*time.Millisecond, 2500*time.Millisecond) {
		n := r.IntN(total)
		k := kinds[slices.IndexFunc(kinds, func(k struct {
			name   string
			weight int
			on     string
			least  time.Duration
			most   time.Duration
		},
		) bool {
			n -= k.weight
			return n < 0
		})]
		f := fault{at: at, kind: k.name, lasts: between(k.least, k.most)}
		pause := 3 * time.Second // to get ready again
		switch k.on {
		case "runner":
			f.target = r.IntN(runners)
		case "api":
			f.target = r.IntN(apis)
		case "redis":
			pause = 10 * time.Second
		}
		if k.on != "" {
			place := fmt.Sprint(k.on, f.target)
			if at < busy[place] {
				continue
			}
			busy[place] = at + f.lasts + pause
		}
		plan = append(plan, f)
	}
	return plan
}

// act is one step of a fault.
type act struct {
	at  time.Duration
	do  func()
	say string
}

// acts turns the plan into what to do when.
func (c *cluster) acts(plan []fault) []act {
	var all []act
	for _, f := range plan {
		begin, end := c.steps(f)
		all = append(all, act{f.at, begin, f.String()})
		if end != nil {
			all = append(all, act{f.at + f.lasts, end, ""})
		}
	}
	slices.SortStableFunc(all, func(a, b act) int { return int(a.at - b.at) })
	return all
}

func (c *cluster) steps(f fault) (begin, end func()) {
	var p *process
	if kind, what, _ := strings.Cut(f.kind, " "); kind == "runner" || kind == "api" {
		p = c.apis[min(f.target, len(c.apis)-1)]
		if kind == "runner" {
			p = c.runners[f.target]
		}
		switch what {
		case "kill":
			return func() { p.away.open(); p.kill() }, func() { c.revive(p) }
		case "freeze":
			return func() { p.away.open(); p.signal(syscall.SIGSTOP) }, func() { p.signal(syscall.SIGCONT); p.away.close() }
		case "restart":
			return func() {
				p.away.open()
				go func() {
					if !p.terminate(30 * time.Second) {
						c.tb.Errorf("%s does not stop", p.name)
						p.kill()
					} else if code := p.exitCode(); code != 0 {
						c.tb.Logf("%s stopped with %d", p.name, code)
					}
					c.revive(p)
				}()
			}, nil
		case "cut":
			return func() { p.cut.open(); p.link.Cut() }, func() { p.link.Heal(); p.cut.close() }
		}
	}
	switch f.kind {
	case "redis kill":
		return func() { c.down.open(); c.redis.Kill() }, func() { c.redis.Restart(c.tb); c.down.close() }
	case "redis freeze":
		return func() { c.down.open(); c.redis.Freeze() }, func() { c.redis.Thaw(); c.down.close() }
	case "slow":
		return func() {
				for _, p := range c.processes() {
					p.link.Delay(100 * time.Millisecond)
				}
			}, func() {
				for _, p := range c.processes() {
					p.link.Delay(0)
				}
			}
	case "script flush":
		return func() { c.command("script", "flush") }, nil
	case "client kill":
		return func() { c.command("client", "kill", "type", "normal"); c.command("client", "kill", "type", "pubsub") }, nil
	case "reset all":
		return func() {
			for _, p := range c.processes() {
				p.link.Reset()
			}
		}, nil
	}
	c.tb.Fatalf("no such fault: %s", f.kind)
	return nil, nil
}

// revive starts a process again, and notes when it is ready.
func (c *cluster) revive(p *process) {
	if err := p.start(); err != nil {
		c.tb.Errorf("start %s: %v", p.name, err)
		return
	}
	go func() {
		if p.awaitReady(c.tb.Context(), 30*time.Second) {
			p.away.close()
		}
	}()
}

// command runs a command of Redis; should Redis be away, nothing is lost by it.
func (c *cluster) command(args ...any) {
	rdb := redis.NewClient(&redis.Options{Addr: c.redis.Addr, MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second})
	defer func() { _ = rdb.Close() }()
	_ = rdb.Do(c.tb.Context(), args...).Err()
}
