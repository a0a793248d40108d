package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// socket is a client of a session.
type socket struct {
	tb   testing.TB
	conn *websocket.Conn
	err  error // why it ended
}

func (k *kaa) dial(session string, change ...func(*websocket.DialOptions)) (*websocket.Conn, *http.Response, error) {
	o := &websocket.DialOptions{HTTPClient: k.client, HTTPHeader: http.Header{}}
	if k.key != "" {
		o.HTTPHeader.Set("Authorization", "Bearer "+k.key)
	}
	for _, c := range change {
		c(o)
	}
	return websocket.Dial(k.tb.Context(), k.url+sessionsPath+"/"+session+"/ws", o)
}

// connect opens a socket on a session.
func (k *kaa) connect(session string) *socket {
	k.tb.Helper()
	conn, _, err := k.dial(session)
	if err != nil {
		k.tb.Fatal(err)
	}
	conn.SetReadLimit(32 << 20)
	k.tb.Cleanup(func() { _ = conn.CloseNow() })
	return &socket{tb: k.tb, conn: conn}
}

func (s *socket) send(frame any) {
	s.tb.Helper()
	text, ok := frame.(string)
	if !ok {
		b, err := json.Marshal(frame)
		if err != nil {
			s.tb.Fatal(err)
		}
		text = string(b)
	}
	if err := s.conn.Write(s.tb.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.tb.Fatalf("send: %v", err)
	}
}

// next returns the next frame; false at the end.
func (s *socket) next() (event, bool) {
	ctx, cancel := context.WithTimeout(s.tb.Context(), testenv.Timeout)
	defer cancel()
	_, text, err := s.conn.Read(ctx)
	if err != nil {
		s.err = err
		return event{}, false
	}
	e := event{at: time.Now()}
	if err := json.Unmarshal(text, &e.data); err != nil {
		s.tb.Errorf("%q: %v", text, err)
	}
	e.name = e.str("type")
	return e, true
}

// until returns the frames up to the first that is wanted.
func (s *socket) until(wanted func(event) bool) []event {
	s.tb.Helper()
	var all []event
	for e, ok := s.next(); ok; e, ok = s.next() {
		all = append(all, e)
		if wanted(e) {
			return all
		}
	}
	s.tb.Fatalf("the socket ended with %v after %v", s.err, briefs(all))
	return nil
}

// closed returns the frames up to the end, and checks its code.
func (s *socket) closed(code websocket.StatusCode) []event {
	s.tb.Helper()
	var all []event
	for e, ok := s.next(); ok; e, ok = s.next() {
		all = append(all, e)
	}
	if got := websocket.CloseStatus(s.err); got != code {
		s.tb.Errorf("closed with %d (%v), want %d; frames %v", got, s.err, code, briefs(all))
	}
	return all
}

// isEnd reports whether an execution ends with that.
func isEnd(e event) bool {
	return e.name == "status" && slices.Contains([]string{"completed", "cancelled", "failed"}, e.str("state"))
}

func ends(n int) func(event) bool {
	return func(e event) bool {
		if isEnd(e) {
			n--
		}
		return n == 0
	}
}

// about keeps the frames about executions, merged where output came in parts.
func told(events []event) []string {
	var all []string
	stream := ""
	for _, e := range events {
		if e.name == "stream" && strings.HasPrefix(stream, e.str("jobId")+" "+e.str("stream")) {
			stream += e.str("text")
			all[len(all)-1] = stream
			continue
		}
		stream = e.str("jobId") + " " + e.brief()
		if e.name == "stream" {
			stream = e.str("jobId") + " " + e.str("stream") + " " + e.str("text")
		}
		all = append(all, stream)
	}
	return all
}

// TestSocketExecutes: what a client sends is executed in its order, and comes back with its ids.
func TestSocketExecutes(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	s := k.connect(k.open(nil))
	s.send(fields{"type": "ping", "id": "p"})
	if e, _ := s.next(); e.name != "pong" || e.str("id") != "p" {
		t.Errorf("pong: %v", e.data)
	}
	s.send(fields{"type": "execute", "id": "1", "code": "x = 41\nprint('one')", "envs": fields{"A": "b"}, "timeout": 5})
	s.send(fields{"type": "execute", "id": "2", "code": "display(x)\nx + 1"})
	s.send(fields{"type": "execute", "code": "1/0"})
	got := map[string][]string{}
	var jobs []string
	for _, e := range s.until(ends(3)) {
		if e.str("state") == "queued" {
			jobs = append(jobs, e.str("jobId"))
		} else {
			got[e.str("jobId")] = append(got[e.str("jobId")], e.str("id")+" "+e.brief())
		}
		if e.name != "status" && e.str("eventId") == "" {
			t.Errorf("no id: %v", e.data)
		}
	}
	if len(jobs) != 3 {
		t.Fatalf("jobs: %v", jobs)
	}
	want := [][]string{
		{"1 status running", `1 stdout "one\n"`, "1 status completed ok"},
		{"2 status running", "2 display", "2 result", "2 status completed ok"},
		{" status running", " error ZeroDivisionError", " status completed error"},
	}
	for i, id := range jobs {
		if diff := cmp.Diff(want[i], got[id]); diff != "" {
			t.Errorf("execution %d (-want +got)\n%s", i, diff)
		}
	}
}

// TestSocketsSeeEverything: several clients on one session each see everything, in the same
// order, whoever started it and over whichever process.
func TestSocketsSeeEverything(t *testing.T) {
	t.Parallel()
	one := start(t, 1)
	two := *one
	addr, _ := one.run(app.RunAPI)
	two.url = "http://" + addr.String()
	id := one.open(nil)
	sockets := []*socket{one.connect(id), one.connect(id), two.connect(id)}
	const each = 20
	seen := make([][]event, len(sockets))
	var reading, sending sync.WaitGroup
	for i, s := range sockets {
		reading.Go(func() { seen[i] = s.until(ends(5 * each)) })
		sending.Go(func() {
			for n := range each {
				s.send(fields{"type": "execute", "id": fmt.Sprintf("%d-%d", i, n), "code": fmt.Sprintf("print('socket', %d, %d)", i, n)})
			}
		})
	}
	for i, k := range []*kaa{one, &two} {
		sending.Go(func() {
			for n := range each {
				k.in(id, fmt.Sprintf("import sys\nprint('http', %d, %d)\nprint('err', file=sys.stderr)", i, n))
			}
		})
	}
	sending.Wait()
	reading.Wait()
	ofJobs := func(i int) []string {
		var events []event
		for _, e := range seen[i] {
			// Where output is cut is not always the same.
			if mine := strings.HasPrefix(e.str("id"), fmt.Sprint(i)+"-"); e.str("id") != "" && !mine {
				t.Errorf("socket %d is told of another's id: %v", i, e.data)
			}
			if e.str("state") != "queued" {
				events = append(events, e)
			}
		}
		return told(events)
	}
	first := ofJobs(0)
	for i := 1; i < len(sockets); i++ {
		if diff := cmp.Diff(first, ofJobs(i)); diff != "" {
			t.Errorf("socket %d sees something else (-0 +%d)\n%s", i, i, diff)
		}
	}
	text := strings.Join(first, "\n")
	for i := range sockets {
		at := -1
		for n := range each {
			next := strings.Index(text, fmt.Sprintf("socket %d %d\n", i, n))
			if next <= at {
				t.Errorf("execution %d of socket %d is out of order", n, i)
			}
			at = next
		}
	}
	if n := strings.Count(text, "http"); n != 2*each {
		t.Errorf("%d executions over HTTP are told", n)
	}
	// One that comes late sees what is executed, from its start.
	job := two.submit(fields{"code": "print('early')\nimport time\ntime.sleep(1)\nprint('late')", "sessionId": id})
	sockets[0].until(ofOutput("early\n"))
	late := one.connect(id)
	if diff := cmp.Diff([]string{job + " status running", job + " stdout early\nlate\n", job + " status completed ok"}, told(late.until(ends(1)))); diff != "" {
		t.Error(diff)
	}
}

// TestSocketInterrupt: anybody may, and the session goes on.
func TestSocketInterrupt(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	a, b := k.connect(id), k.connect(id)
	b.send(fields{"type": "interrupt", "id": "i"})
	if e, _ := b.next(); e.name != "interrupt" || e.str("interrupted") != "false" || e.str("id") != "i" {
		t.Errorf("of nothing: %v", e.data)
	}
	a.send(fields{"type": "execute", "code": "print('on')\nimport time\ntime.sleep(30)"})
	b.until(ofOutput("on\n"))
	b.send(fields{"type": "interrupt"})
	for _, s := range []*socket{a, b} {
		all := s.until(ends(1))
		if last := all[len(all)-1]; last.str("state") != "cancelled" || last.str("status") != "interrupted" {
			t.Errorf("ended with %v", last.data)
		}
	}
	if out := k.in(id, "print(time.__name__)"); out != "time\n" {
		t.Errorf("printed %q", out)
	}
}

// TestSocketRefuses: what is wrong with a frame is said, and only what can be no frame ends the
// connection.
func TestSocketRefuses(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_MAX_BODY_BYTES=100000", "KAA_MAX_CODE_BYTES=1000")
	id := k.open(nil)
	s := k.connect(id)
	for frame, want := range map[string]string{
		`[]`:                           "type",
		`{"type":"x","id":"1"}`:        "type",
		`{"code":"1"}`:                 "type",
		`{"type":"execute"}`:           "code",
		`{"type":"execute","code":1}`:  "code",
		`{"type":"execute","code":""}`: "code",
		`{"type":"execute","code":"1","Timeout":1}`:                              "Timeout",
		`{"type":"execute","code":"1","timeout":-1}`:                             "timeout",
		`{"type":"execute","code":"1","sessionId":"x"}`:                          "sessionId",
		`{"type":"execute","code":"1","figureFormats":["gif"]}`:                  "figureFormats",
		`{"type":"execute","code":"` + strings.Repeat("#", 2000) + `"}`:          "code",
		`{"type":"ping","id":"` + strings.Repeat("i", 65) + `"}`:                 "id",
		`{"type":"input","text":"` + strings.Repeat("i", 20000) + `"}`:           "text",
		`{"type":"input","text":"x","jobId":1}`:                                  "jobId",
		`{"type":"execute","code":"1","limits":{"memoryBytes":100000000}}`:       "limits.memoryBytes",
		`{"type":"execute","code":"1","limits":{"memory":100000000}}`:            "limits.memory",
		`{"type":"execute","code":"1","envs":{"A B":"1"}}`:                       "envs",
		`{"type":"execute","code":"1","figureFormats":null,"limits":null,"a":1}`: "a",
	} {
		s.send(frame)
		e, ok := s.next()
		if !ok {
			t.Fatalf("%.100s ended the connection: %v", frame, s.err)
		}
		issues, _ := json.Marshal(e.data["errors"])
		if e.name != "error" || e.str("code") != "invalid_request" || !strings.Contains(string(issues), want) || !strings.Contains(e.str("detail"), want) {
			t.Errorf("%.100s: %v, want an error about %s", frame, e.data, want)
		}
	}
	for _, frame := range []fields{{"type": "input", "text": "x"}, {"type": "input", "eof": true, "jobId": id, "request": 1}} {
		s.send(frame)
		if e, _ := s.next(); e.str("code") != "no_input" && e.str("code") != "not_found" {
			t.Errorf("%v: %v", frame, e.data)
		}
	}
	s.send(fields{"type": "execute", "code": "1"})
	s.until(ends(1))
	for name, tt := range map[string]struct {
		kind    websocket.MessageType
		message string
		code    websocket.StatusCode
	}{
		"not JSON":  {websocket.MessageText, "x", websocket.StatusInvalidFramePayloadData},
		"not UTF-8": {websocket.MessageText, "{\"type\":\"\xff\"}", websocket.StatusInvalidFramePayloadData},
		"binary":    {websocket.MessageBinary, "{}", websocket.StatusUnsupportedData},
		"too large": {websocket.MessageText, `"` + strings.Repeat("x", 200_000) + `"`, websocket.StatusMessageTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := k.connect(id)
			_ = s.conn.Write(t.Context(), tt.kind, []byte(tt.message)) // it may be refused before its end
			s.closed(tt.code)
		})
	}
}

// TestSocketOpening: who may connect, and to what.
func TestSocketOpening(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_API_KEYS=one-key,another", "KAA_ALLOWED_ORIGINS=*.example.com")
	k.key = "one-key"
	id := k.open(nil)
	ended := k.open(nil)
	k.call(http.MethodDelete, sessionsPath+"/"+ended, nil)
	header := func(name, value string) func(*websocket.DialOptions) {
		return func(o *websocket.DialOptions) { o.HTTPHeader.Set(name, value) }
	}
	protocols := func(p ...string) func(*websocket.DialOptions) {
		return func(o *websocket.DialOptions) { o.HTTPHeader.Del("Authorization"); o.Subprotocols = p }
	}
	for name, tt := range map[string]struct {
		session string
		change  func(*websocket.DialOptions)
		status  int
		code    string
	}{
		"key":                    {id, header("X", "y"), 101, ""},
		"no key":                 {id, header("Authorization", ""), 401, "unauthorized"},
		"another's":              {id, header("Authorization", "Bearer another"), 404, "session_not_found"},
		"of a browser":           {id, protocols("kaa", "kaa-key.b25lLWtleQ"), 101, ""},
		"wrong key of a browser": {id, protocols("kaa", "kaa-key.b25lLWtlZQ"), 401, "unauthorized"},
		"no such session":        {"01900000-0000-7000-8000-000000000000", header("X", "y"), 404, "session_not_found"},
		"odd":                    {"x", header("X", "y"), 404, "session_not_found"},
		"ended":                  {ended, header("X", "y"), 410, "session_ended"},
		"page of another's":      {id, header("Origin", "https://evil.org"), 403, "origin_refused"},
		"page of nobody's":       {id, header("Origin", "null"), 403, "origin_refused"},
		"page that is allowed":   {id, header("Origin", "https://a.example.com"), 101, ""},
		"page of its own":        {id, header("Origin", k.url), 101, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, res, err := k.dial(tt.session, tt.change)
			if err == nil {
				defer func() { _ = conn.CloseNow() }()
			}
			if res == nil || res.StatusCode != tt.status {
				t.Fatalf("%+v %v", res, err)
			}
			var p struct{ Code string }
			if tt.status != 101 {
				_ = json.NewDecoder(res.Body).Decode(&p)
			}
			if p.Code != tt.code {
				t.Errorf("code %q, want %q", p.Code, tt.code)
			}
			if name == "of a browser" && conn.Subprotocol() != "kaa" {
				t.Errorf("subprotocol %q", conn.Subprotocol())
			}
		})
	}
	if a := k.call(http.MethodHead, sessionsPath+"/"+id+"/ws", nil, upgrade...); a.status != http.StatusUpgradeRequired {
		t.Errorf("HEAD: %d", a.status)
	}
	if a := k.call(http.MethodGet, sessionsPath+"/"+id+"/ws", nil); a.status != http.StatusUpgradeRequired || a.header.Get("Upgrade") != "websocket" || a.str("code") != "upgrade_required" {
		t.Errorf("without upgrade: %d %s", a.status, a.raw)
	}
}

// TestSocketInput: what code asks for, everybody is asked, and the first answer is taken.
func TestSocketInput(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	a, b := k.connect(id), k.connect(id)
	asks := func(prompt string) func(event) bool {
		return func(e event) bool { return e.name == "input_request" && e.str("prompt") == prompt }
	}
	a.send(fields{"type": "execute", "id": "x", "code": "import sys\nprint('Hello', input('name? '))\nprint(input('age? '))\nsys.stdin.readline()"})
	all := a.until(asks("name? "))
	job := all[len(all)-1].str("jobId")
	b.until(asks("name? "))
	b.send(fields{"type": "input", "text": "Käa"})
	a.until(ofOutput("Hello Käa\n"))
	a.until(asks("age? "))
	b.until(asks("age? "))
	// One of them is too late, whoever it is.
	a.send(fields{"type": "input", "id": "of a", "jobId": job, "request": 2, "text": "1"})
	b.send(fields{"type": "input", "id": "of b", "text": "2"})
	text, late := "", 0
	for _, s := range []*socket{a, b} {
		text = ""
		for _, e := range s.until(asks("")) {
			text += e.str("text")
			if e.str("code") == "no_input" {
				late++
			}
		}
	}
	if text != "1\n" && text != "2\n" || late != 1 {
		t.Errorf("printed %q, %d answers were too late", text, late)
	}
	b.send(fields{"type": "input", "eof": true})
	for _, s := range []*socket{a, b} {
		all := s.until(ends(1))
		if last := all[len(all)-1]; last.str("status") != "ok" || last.str("jobId") != job {
			t.Errorf("ended with %v", last.data)
		}
	}
	// Over HTTP there is nobody to ask.
	if r := k.execute(fields{"code": "input()", "sessionId": id}); r.str("error.name") != "EOFError" {
		t.Errorf("over HTTP: %s", r.raw)
	}
	if r := k.execute(fields{"code": "print(input())", "stdin": "in\n", "sessionId": id}); r.str("stdout") != "in\n" {
		t.Errorf("over HTTP: %s", r.raw)
	}
	// Nobody answers, or somebody interrupts.
	a.send(fields{"type": "execute", "code": "input('1')", "timeout": 0.2})
	all = a.until(ends(3))
	if last := all[len(all)-1]; last.str("status") != "interrupted" {
		t.Errorf("ended with %v", last.data)
	}
	a.send(fields{"type": "execute", "code": "input('2')"})
	b.until(asks("2"))
	b.send(fields{"type": "interrupt"})
	all = b.until(ends(1))
	if last := all[len(all)-1]; last.str("status") != "interrupted" || !strings.Contains(fmt.Sprint(briefs(all)), "KeyboardInterrupt") {
		t.Errorf("ended with %v", briefs(all))
	}
	b.send(fields{"type": "input", "text": "late"})
	if e, _ := b.next(); e.str("code") != "no_input" {
		t.Errorf("too late: %v", e.data)
	}
	k.in(id, "1")
	// What is answered is kept nowhere once the job has ended.
	if n := k.redis.Client(t).HExists(t.Context(), "{kaa}:job:"+job, "answer").Val(); n {
		t.Error("the answer stays in the record")
	}
}

// TestSocketInputUntold: the runner finds an answer of which the message was lost.
func TestSocketInputUntold(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	s := k.connect(k.open(nil))
	s.send(fields{"type": "execute", "code": "print('got', input())"})
	all := s.until(func(e event) bool { return e.name == "input_request" })
	k.redis.Client(t).HSet(t.Context(), "{kaa}:job:"+all[len(all)-1].str("jobId"), "answer", "1 nonce +an answer")
	s.until(ofOutput("got an answer\n"))
	s.until(isEnd)
}
