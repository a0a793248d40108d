package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestChaosSessions breaks the same things under callers who each have one session after
// the other, and expects of a session that as long as it lives its executions happen in
// the order of their acceptance, each once, and that files stay as they were put there;
// that the stream of each command, each terminal and each execution with calls ends with a reason; and that nobody
// and nothing is left waiting.
func TestChaosSessions(t *testing.T) { //nolint:paralleltest // it measures times
	if *duration == 0 {
		t.Skip("run by make test-long")
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d", *seed)
	c := startCluster(t, 2, 3, "KAA_SANDBOX=strict")
	const callers, settle = 16, 90 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), *duration+settle)
	defer cancel()
	l := &load{client: newClient(c.apis)}
	defer l.http.CloseIdleConnections()
	over := make(chan struct{})
	all := make([]*caller, callers)
	for i := range all {
		all[i] = &caller{load: l, random: rand.New(rand.NewPCG(*seed, uint64(i))), ends: map[string]int{}}
		l.done.Go(func() { all[i].run(ctx, over) })
	}
	c.breakThings(ctx, faults(*seed, *duration, len(c.apis), len(c.runners)))
	close(over)
	lastFault := time.Now()
	l.done.Wait()
	t.Logf("the last answer came %s after the last fault", time.Since(lastFault).Round(time.Millisecond))
	sum := map[string]int{}
	for _, cl := range all {
		for k, n := range cl.ends {
			sum[k] += n
		}
	}
	r := &report{tb: t, ends: sum}
	r.print(l.statuses)
	for _, w := range l.wrong {
		t.Errorf("wrong: %s", w)
	}
	for i, cl := range all {
		if cl.right == 0 {
			t.Errorf("caller %d never had a right answer", i)
		}
	}
	for _, wanted := range []string{"terminal: exit completed", "calls: all answered"} {
		if sum[wanted] == 0 && *duration >= 20*time.Second {
			t.Errorf("none of these: %s", wanted)
		}
	}
	c.checkForgotten(ctx)
	c.stop()
}

// caller has one session after the other and counts in it.
type caller struct {
	*load
	random *rand.Rand
	ends   map[string]int // what came of sessions and calls
	right  int            // answers that were as expected

	session string
	// count is what the session has counted to, as far as is known, and doubtful how many
	// executions more may have been: their answers were lost.
	count, doubtful int
	file            string // what was put there, JSON, and answered; empty if that is not known
}

func (cl *caller) run(ctx context.Context, over <-chan struct{}) {
	for n := 0; ctx.Err() == nil; n++ {
		select {
		case <-over:
			cl.close(ctx)
			return
		default:
		}
		if cl.session == "" && !cl.open(ctx) {
			continue
		}
		switch p := cl.random.IntN(100); {
		case p < 40:
			cl.execute(ctx)
		case p < 48:
			cl.command(ctx)
		case p < 52:
			cl.background(ctx)
		case p < 56:
			cl.context(ctx)
		case p < 62:
			cl.terminal(ctx)
		case p < 68:
			cl.calls(ctx)
		case p < 80:
			cl.submit(ctx, n, 1+cl.random.IntN(5))
		case p < 88:
			cl.put(ctx, n)
		case p < 95:
			cl.get(ctx)
		case p < 97:
			cl.close(ctx)
		default:
			pause(ctx, time.Duration(cl.random.IntN(500))*time.Millisecond)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (cl *caller) open(ctx context.Context) bool {
	// One whose answer was lost ends by itself.
	a, err := cl.insist(ctx, 5*time.Second, http.MethodPost, "/v1/sessions", map[string]any{"idleTimeout": 30})
	if err != nil || a.status != http.StatusCreated {
		if err == nil {
			cl.complain("open: %d %s", a.status, a.raw)
		}
		pause(ctx, time.Second)
		return false
	}
	cl.session, cl.count, cl.doubtful, cl.file = a.view().ID, 0, 0, ""
	return true
}

func (cl *caller) close(ctx context.Context) {
	if cl.session == "" {
		return
	}
	a, err := cl.insist(ctx, 5*time.Second, http.MethodDelete, "/v1/sessions/"+cl.session, nil)
	if err == nil && a.status != http.StatusOK && a.problem().Code != "session_ended" {
		cl.complain("close: %d %s", a.status, a.raw)
	}
	cl.session = ""
}

// counting is code that counts; each execution has a nonce, to tell its output.
func (cl *caller) counting() (code, nonce string) {
	nonce = fmt.Sprintf("%x", cl.random.Uint64())
	sleep := ""
	if cl.random.IntN(10) == 0 {
		sleep = fmt.Sprintf("import time; time.sleep(%.3f)\n", cl.random.Float64())
	}
	return "count = globals().get('count', 0) + 1\n" + sleep + "print(count, '" + nonce + "')", nonce
}

// counted compares what an execution has counted to with what it may have.
func (cl *caller) counted(what, stdout, nonce string) {
	var count int
	var got string
	if _, err := fmt.Sscan(stdout, &count, &got); err != nil || got != nonce {
		cl.complain("%s in %s: %q, want a count and %s", what, cl.session, stdout, nonce)
		return
	}
	if count <= cl.count || count > cl.count+1+cl.doubtful {
		cl.complain("%s in %s: counted to %d after %d, %d in doubt", what, cl.session, count, cl.count, cl.doubtful)
	}
	cl.count, cl.doubtful = count, 0
	cl.right++
}

// ended notes the end of the session, as an answer tells it.
func (cl *caller) ended(reason string) {
	if reason != "runner_lost" && reason != "drained" && reason != "start_failed" {
		cl.complain("%s ended: %q", cl.session, reason)
	}
	cl.ends["session ended: "+reason]++
	cl.session = ""
}

// isOver reports whether the answer is the session's end, and notes it.
func (cl *caller) isOver(a answer) bool {
	var p struct{ Code, Reason string }
	if a.status != http.StatusGone || json.Unmarshal(a.raw, &p) != nil || p.Code != "session_ended" {
		return false
	}
	cl.ended(p.Reason)
	return true
}

func (cl *caller) execute(ctx context.Context) {
	code, nonce := cl.counting()
	call, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	a, err := cl.call(call, cl.any(), http.MethodPost, "/process/interpreter/execute",
		map[string]any{"code": code, "sessionId": cl.session, "timeout": 30})
	switch {
	case err != nil:
		cl.doubtful++ // it is cancelled, unless it was through
		if call.Err() != nil && ctx.Err() == nil {
			cl.complain("no answer for a minute in %s", cl.session)
		}
		pause(ctx, 100*time.Millisecond)
	case a.status == http.StatusOK:
		var r struct {
			Status, Stdout string
			Session        struct{ State, Reason string }
		}
		_ = json.Unmarshal(a.raw, &r)
		if r.Status != "ok" {
			// The drain of its runner has interrupted it.
			cl.ends["execute: "+r.Status]++
			cl.doubtful++
		} else {
			cl.counted("execute", r.Stdout, nonce)
		}
		if r.Session.State == "ended" {
			cl.ended(r.Session.Reason)
		}
	case cl.isOver(a):
	case a.status == http.StatusServiceUnavailable:
		if a.problem().Code == "unavailable" {
			cl.doubtful++
		}
		pause(ctx, 100*time.Millisecond)
	default:
		cl.complain("execute in %s: %d %s", cl.session, a.status, a.raw)
	}
}

// submit sends some jobs, one after the other and each until it is accepted, and then
// waits for all.
func (cl *caller) submit(ctx context.Context, n, jobs int) {
	type accepted struct{ id, nonce string }
	var sent []accepted
	for i := range jobs {
		code, nonce := cl.counting()
		a, err := cl.insist(ctx, 15*time.Second, http.MethodPost, "/v1/jobs",
			map[string]any{"code": code, "sessionId": cl.session, "timeout": 30}, fmt.Sprintf("Idempotency-Key: %s.%d.%d", cl.session, n, i))
		if err != nil || a.status != http.StatusAccepted {
			if err == nil && !cl.isOver(a) {
				cl.complain("submit in %s: %d %s", cl.session, a.status, a.raw)
			}
			break
		}
		sent = append(sent, accepted{a.view().ID, nonce})
	}
	session := cl.session
	for _, j := range sent {
		v, _, err := cl.await(ctx, j.id)
		switch {
		case err != nil:
			cl.complain("await %s in %s: %v", j.id, session, err)
		case v.State == "completed" && v.Result.Status == "ok" && cl.session != "":
			cl.counted("job "+j.id, v.Result.Stdout, j.nonce)
		case v.State == "completed": // its runner was drained meanwhile
			cl.ends["job: "+v.Result.Status]++
			cl.doubtful++
		case v.State == "failed" && v.Failure.Code == "session_ended":
			cl.ends["job: session_ended"]++
			cl.session = ""
		default:
			cl.complain("job %s in %s: %s %+v", j.id, session, v.State, v.Failure)
		}
	}
}

func (cl *caller) path() string { return "/v1/sessions/" + cl.session + "/files/a/file.json" }

func (cl *caller) put(ctx context.Context, n int) {
	content := strings.Repeat(fmt.Sprint(cl.session, n), 1+cl.random.IntN(500))
	a, err := cl.insist(ctx, 20*time.Second, http.MethodPut, cl.path(), content)
	cl.file = ""
	switch {
	case err != nil || cl.isOver(a):
	case a.status == http.StatusOK || a.status == http.StatusCreated:
		text, _ := json.Marshal(content)
		cl.file = string(text)
	default:
		cl.complain("put in %s: %d %s", cl.session, a.status, a.raw)
	}
}

func (cl *caller) get(ctx context.Context) {
	a, err := cl.insist(ctx, 20*time.Second, http.MethodGet, cl.path(), nil)
	switch {
	case err != nil || cl.isOver(a) || cl.file == "" && a.status == http.StatusNotFound:
	case cl.file == "":
		cl.file = string(a.raw)
	case a.status != http.StatusOK || string(a.raw) != cl.file:
		cl.complain("get in %s: %d, %d bytes, want %d", cl.session, a.status, len(a.raw), len(cl.file))
	default:
		cl.right++
	}
}
