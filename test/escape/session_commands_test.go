package escape_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// attack begins each program: it collects what worked and should not have.
const attack = `
import ctypes, fcntl, os, re, signal, sys, termios, time
bad, libc = [], ctypes.CDLL(None, use_errno=True)
def tried(what, do):
    try: found = do()
    except OSError: return
    if found is not None: bad.append(what)
def others():
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
def done():
    print("ESCAPED " + "; ".join(bad[:9]) if bad else "HELD", flush=True)
    sys.exit()
`

// lasting leaves processes that only the mark of a command or the end of the sandbox finds: they ignore signals, have
// no parent, and fork again and again.
const lasting = `
for s in (1, 2, 3, 15): signal.signal(s, signal.SIG_IGN)
if not os.fork():
    os.setsid()
    if not os.fork():
        for fd in range(3): os.close(fd)
        until = time.time() + 45
        while time.time() < until:
            time.sleep(.01)
            if os.fork(): os._exit(0)
print("left", flush=True)
time.sleep(45)
`

// looking says whether any of these is there: it looks for their program text.
const looking = `
for p in others():
    def look():
        if b"kaa-" + b"left" in open(f"/proc/{p}/cmdline", "rb").read(): return p
    tried(f"{p} is left", look)
done()
`

// hostileCommands run in a session, one after the other. While they do, a command of another session holds a secret.
var hostileCommands = []struct {
	name     string
	program  string
	terminal bool
	context  bool
	weak     string // why the level basic does not promise to hold it
}{
	{name: "a command reads variables of others", program: `
secret = re.compile(rb"kaa-secret-[a-z]+-[0-9a-f]{32}")
for p in others():
    tried(f"environ of {p}", lambda: secret.search(open(f"/proc/{p}/environ", "rb").read()))
done()`},
	{name: "a command traces the interpreter and what started it", program: `
for p in others():
    tried(f"memory of {p}", lambda: open(f"/proc/{p}/mem", "rb"))
    tried(f"trace {p}", lambda: None if libc.ptrace(0x4206, p, None, None) else p)
    tried(f"root of {p}", lambda: os.listdir(f"/proc/{p}/root"))
    for fd in range(9): tried(f"descriptor {fd} of {p}", lambda: os.readlink(f"/proc/{p}/fd/{fd}"))
done()`},
	{name: "a command finds descriptors of what started it", program: `
for fd in os.listdir("/proc/self/fd"):
    def look():
        if int(fd) > 2 and not os.readlink(f"/proc/self/fd/{fd}").endswith("/fd"): return fd
    tried("descriptor " + fd, look)
done()`},
	{name: "a command mounts over the files", program: `
os.makedirs("m", exist_ok=True)
def mount(what, kind, flags):
    if libc.mount(what, b"m", kind, flags, None): return None
    libc.umount2(b"m", 2)
    return kind
for what in (b"/proc", b"/etc", b"/"): tried("bind", lambda: mount(what, b"bind", 4096))
for kind in (b"tmpfs", b"proc", b"sysfs", b"cgroup2", b"devpts", b"overlay"): tried("file system", lambda: mount(b"x", kind, 0))
for flags in (0x10000000, 0x00020000, 0x02000000, 0x40000000): tried("namespace", lambda: None if libc.unshare(flags) else flags)
done()`},
	{name: "a terminal types for its reader", terminal: true, program: `
for name, number in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541C), ("TIOCCONS", 0x541D)):
    tried(name, lambda: fcntl.ioctl(0, number, b"\x03kaa"))
done()`},
	{name: "a terminal steals another one", terminal: true, program: `
if os.fork(): os.wait(); sys.exit()
os.setsid()
for n in range(64):
    def steal():
        fd = os.open(f"/dev/pts/{n}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        if os.fstat(fd).st_rdev == os.fstat(0).st_rdev: return None
        fcntl.ioctl(fd, termios.TIOCSCTTY, 1)
        return n
    tried(f"control of terminal {n}", steal)
done()`},
	{name: "a terminal talks to terminals of others", terminal: true, program: `
for n in range(64):
    def talk():
        fd = os.open(f"/dev/pts/{n}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        if os.fstat(fd).st_rdev != os.fstat(0).st_rdev: os.write(fd, b"kaa-stolen\r\n")
    tried("", talk)
tried("console", lambda: os.open("/dev/console", os.O_RDWR))
tried("first console", lambda: os.open("/dev/tty0", os.O_RDWR))
done()`},
	{name: "a context reads the memory of the interpreter", context: true, weak: "all have one user, and no signal or trace is kept from them", program: `
for p in others():
    tried(f"memory of {p}", lambda: open(f"/proc/{p}/mem", "rb"))
    for fd in range(9): tried(f"descriptor {fd} of {p}", lambda: os.readlink(f"/proc/{p}/fd/{fd}"))
print("ESCAPED" if bad else "HELD", flush=True)`},
	{name: "a context uses the means of commands", context: true, program: `
import socket
for fd in range(3, 2000):
    def pretend():
        s = socket.socket(fileno=os.dup(fd))
        s.settimeout(.05)
        s.send(b"S" * 64)
        return 1 if re.search(rb"pid|command", s.recv(4096)) else None
    if fd != 1000: tried(f"descriptor {fd}", pretend)
print("ESCAPED" if bad else "HELD", flush=True)`},
}

// TestHostileCommands: commands, terminals and contexts of a session try to reach what is not theirs, and to stay.
func TestHostileCommands(t *testing.T) { //nolint:paralleltest // the levels would disturb each other's clocks
	for _, level := range testedLevels() { //nolint:paralleltest // see above
		t.Run(level, func(t *testing.T) {
			if level == "none" {
				t.Skip("a stolen terminal could not be given back to its owner on this machine")
			}
			k := startKaa(t, level, secret("runner"))
			victim := k.open(t)
			held := k.background(t, victim, map[string]any{"argv": []string{"cat"}, "terminal": size, "envs": map[string]string{"SECRET": secret("victim")}})
			own := k.open(t)
			for _, tt := range hostileCommands {
				k.attack(t, level, own, tt.name, attack+tt.program, tt.terminal, tt.context, tt.weak)
			}
			k.outlive(t, own)
			k.tell(t, victim, held, "kaa-alive\n")
			if out := k.shown(t, victim, held, "kaa-alive"); strings.Contains(out, "kaa-stolen") {
				t.Errorf("the terminal of another session shows %q", out)
			}
			k.callAfterTheEnd(t, own)
		})
	}
}

var size = map[string]any{"columns": 80, "rows": 24}

// open makes a session and has its interpreter begin.
func (k *kaa) open(t *testing.T) string {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	if err := k.call(t.Context(), http.MethodPost, "/v1/sessions", nil, &made); err != nil {
		t.Fatal(err)
	}
	if r, err := k.execute(t.Context(), map[string]any{"sessionId": made.ID, "code": "x = 'kaa-kept'"}); err != nil || r.Status != "ok" {
		t.Fatalf("%v %s", err, r)
	}
	return made.ID
}

func commandsOf(session string) string { return "/v1/sessions/" + session + "/commands" }

// background starts a command.
func (k *kaa) background(t *testing.T, session string, body map[string]any) string {
	t.Helper()
	body["background"] = true
	var made struct {
		ID string `json:"id"`
	}
	if err := k.call(t.Context(), http.MethodPost, commandsOf(session), body, &made); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// attack runs a program, which has to say that it got nowhere. The session and Kaa go on.
func (k *kaa) attack(t *testing.T, level, session, name, program string, terminal, inContext bool, weak string) {
	t.Helper()
	var r result
	var err error
	switch {
	case inContext:
		var made struct {
			ID string `json:"id"`
		}
		if err := k.call(t.Context(), http.MethodPost, "/v1/sessions/"+session+"/contexts", map[string]any{}, &made); err != nil {
			t.Fatal(err)
		}
		r, err = k.execute(t.Context(), map[string]any{"sessionId": session, "contextId": made.ID, "code": program})
	default:
		body := map[string]any{"argv": []string{"python3", "-c", program}, "timeout": 30}
		if terminal {
			body["terminal"] = size
		}
		err = k.call(t.Context(), http.MethodPost, commandsOf(session), body, &r)
	}
	switch {
	case err != nil:
		t.Errorf("%s: %v", name, err)
	case r.verdict() != "" && level != "strict" && weak != "":
	case r.verdict() != "" || !strings.Contains(r.Stdout, held):
		t.Errorf("%s: %s", name, r)
	}
	if r, err := k.execute(t.Context(), map[string]any{"sessionId": session, "code": "print(x)"}); err != nil || r.lastLine() != "kaa-kept" {
		t.Fatalf("after %s: %v %s", name, err, r)
	}
}

// outlive has commands leave processes behind, at their timeout and at their end from outside, and with a terminal that
// hangs up. None stays.
func (k *kaa) outlive(t *testing.T, session string) {
	t.Helper()
	none := func(after string) {
		var r result
		if err := k.call(t.Context(), http.MethodPost, commandsOf(session), map[string]any{"argv": []string{"python3", "-c", attack + looking}}, &r); err != nil || r.lastLine() != held {
			t.Errorf("after %s: %v %s", after, err, r)
		}
	}
	program := []string{"python3", "-c", attack + "# kaa-left" + lasting}
	var r result
	if err := k.call(t.Context(), http.MethodPost, commandsOf(session), map[string]any{"argv": program, "timeout": 1}, &r); err != nil || r.Status != "interrupted" && r.Status != "exit" {
		t.Errorf("timeout: %v %s", err, r)
	}
	none("a timeout")
	for _, terminal := range []any{nil, size} {
		id := k.background(t, session, map[string]any{"argv": program, "terminal": terminal})
		k.shown(t, session, id, "left")
		var ended struct {
			State string `json:"state"`
		}
		if err := k.call(t.Context(), http.MethodDelete, commandsOf(session)+"/"+id, nil, &ended); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, "the command has ended", func() bool {
			err := k.call(t.Context(), http.MethodGet, commandsOf(session)+"/"+id+"?wait=30s", nil, &ended)
			return err == nil && ended.State != "running"
		})
		none("a delete")
	}
}

func (k *kaa) tell(t *testing.T, session, command, text string) {
	t.Helper()
	if err := k.call(t.Context(), http.MethodPost, commandsOf(session)+"/"+command+"/input", map[string]any{"data": text}, nil); err != nil {
		t.Fatal(err)
	}
}

// shown follows a command until its output has a text, and returns the output.
func (k *kaa) shown(t *testing.T, session, command, want string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url+commandsOf(session)+"/"+command+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := k.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var all strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(all.String(), want) {
		n, err := res.Body.Read(buffer)
		all.Write(buffer[:n])
		if err != nil {
			t.Fatalf("%v, before %q: %s", err, want, all.String())
		}
	}
	return all.String()
}

// callAfterTheEnd answers a call of an execution that has ended: nobody gets that.
func (k *kaa) callAfterTheEnd(t *testing.T, session string) {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	body := map[string]any{"sessionId": session, "code": "import threading; threading.Thread(target=f, daemon=True).start(); import time; time.sleep(.2)", "functions": []map[string]any{{"name": "f"}}}
	if err := k.call(t.Context(), http.MethodPost, "/v1/jobs", body, &made); err != nil {
		t.Fatal(err)
	}
	var ended any
	if err := k.call(t.Context(), http.MethodGet, "/v1/jobs/"+made.ID+"?wait=60s", nil, &ended); err != nil {
		t.Fatal(err)
	}
	err := k.call(t.Context(), http.MethodPost, "/v1/jobs/"+made.ID+"/calls/"+url.PathEscape(made.ID+"-1"), map[string]any{"value": "late"}, nil)
	if err == nil || !strings.Contains(err.Error(), ": 40") && !strings.Contains(err.Error(), ": 41") {
		t.Errorf("an answer after the end: %v", err)
	}
	if r, err := k.execute(t.Context(), map[string]any{"sessionId": session, "code": "print(x, 'f' in globals())"}); err != nil || !strings.HasPrefix(r.Stdout, "kaa-kept") {
		t.Errorf("after the calls: %v %s", err, r)
	}
}
