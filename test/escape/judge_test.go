package escape_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// judgeKit is what hostile programs with cases share. It finds secrets wherever code can look, without having their text.
const judgeKit = `
import ctypes, gc, glob, json, os, re, signal, subprocess, sys, tempfile, time
PREFIX = b"terces-kaa"[::-1]
def loot():
    found = set()
    def look(data):
        found.update(re.findall(re.escape(PREFIX) + rb"-[a-z]+-[0-9]{6}", data or b""))
    own = sys.stdin.buffer.read()
    for line in open("/proc/self/maps"):
        first, last = (int(n, 16) for n in line.split()[0].split("-"))
        if "r" in line.split()[1] and last - first < 1 << 24 and "[v" not in line and " /usr" not in line:
            try:
                with open("/proc/self/mem", "rb", 0) as memory:
                    memory.seek(first); look(memory.read(last - first))
            except (OSError, ValueError, OverflowError): pass
    for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline") + glob.glob("/proc/self/fd/*"):
        try: look(open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb").read(1 << 20))
        except OSError: pass
    for top in "/work", "/tmp", "/dev/shm", "/home", "/root", "/run", "/var/tmp", os.getcwd(), tempfile.gettempdir(), *(top for top in ("..", "../..") if os.path.realpath(top) != "/"):
        for directory, _, names in os.walk(top):
            for name in names:
                try: look(open(os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NONBLOCK), "rb").read(1 << 20))
                except OSError: pass
    return sorted(found - set(re.findall(re.escape(PREFIX) + rb"-[a-z]+-[0-9]{6}", own)))
def daemon(work):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(1, 65):
                try: signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError): pass
            work()
        os._exit(0)
`

// sought is a text that a program must not find.
func sought(of string, n int) string { return fmt.Sprintf("aak-secret-%s-%06d", of, n) }

type judged struct {
	State  string `json:"state"`
	Result struct {
		Status string `json:"status"`
		Cases  []struct {
			Verdict string `json:"verdict"`
			Message string `json:"message"`
			Stdout  string `json:"stdout"`
			Stderr  string `json:"stderr"`
			Error   struct {
				Traceback string `json:"traceback"`
			} `json:"error"`
		} `json:"cases"`
	} `json:"result"`
}

type object = map[string]any

// TestCases: hostile programs with cases look for what is expected, outlive their case, change the next one, and forge
// verdicts; checkers are hostile, too.
func TestCases(t *testing.T) { //nolint:paralleltest // the levels would disturb each other's clocks
	for _, level := range testedLevels() { //nolint:paralleltest // see above
		t.Run(level, func(t *testing.T) {
			k := startKaa(t, level, "")
			for _, tt := range hostileJudgements() {
				got := k.judge(t, tt.body)
				verdicts := make([]string, 0, len(got.Result.Cases))
				for _, c := range got.Result.Cases {
					verdicts = append(verdicts, c.Verdict)
				}
				if got.State != "completed" || !slices.ContainsFunc(tt.ends, func(end string) bool { return end == strings.Join(verdicts, " ") }) {
					t.Errorf("%s: %v, want one of %q: %.3000s", tt.name, verdicts, tt.ends, fmt.Sprint(got))
				}
				for _, c := range got.Result.Cases {
					if strings.Contains(c.Stdout+c.Stderr+c.Message, "aak-secret") {
						t.Errorf("%s: found %q", tt.name, c.Stdout)
					}
				}
				if next, err := k.execute(t.Context(), object{"code": "print('alive')"}); err != nil || next.lastLine() != "alive" {
					t.Fatalf("after %s: %v %s", tt.name, err, next)
				}
			}
		})
	}
}

// judge runs a job to its end.
func (k *kaa) judge(t *testing.T, body object) (got judged) {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	if err := k.call(t.Context(), http.MethodPost, "/v1/jobs", body, &made); err != nil {
		t.Fatal(err)
	}
	if err := k.call(t.Context(), http.MethodGet, "/v1/jobs/"+made.ID+"?wait=60s", nil, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

type hostileJudgement struct {
	name string
	body object
	ends []string // the verdicts of its cases, in alternatives
}

func hostileJudgements() []hostileJudgement {
	program := func(code string, cases ...object) object {
		for _, c := range cases {
			if c["expect"] == nil {
				c["expect"] = object{"stdout": "right"}
			}
		}
		return object{"code": judgeKit + code, "cases": cases, "caseTimeout": 8, "timeout": 60, "limits": object{"diskBytes": 8 << 20, "fileBytes": 64 << 20}}
	}
	with := func(body object, name string, value any) object {
		body[name] = value
		return body
	}
	checker := object{"code": "import sys\nprint(open('expected').read()[:3])\nassert open('output').read().strip() == 'right'"}
	in := func(stdin string) object { return object{"stdin": stdin} }
	return []hostileJudgement{
		{ // the search finds what a program has
			"nothing is stolen", program("for line in open('f'): pass\nprint('right' if loot() == [b'"+sought("control", 1)+"'] else 'wrong')", object{"files": []object{{"path": "f", "content": sought("control", 1)}}}),
			[]string{"accepted"},
		},
		{
			"what is expected is stolen", program("print(loot())", object{"expect": object{"stdout": sought("expected", 1)}}),
			[]string{"wrong_answer"},
		},
		{
			"inputs and files of other cases, and the checker, are stolen", with(program("print(loot() or 'right') if os.path.exists('thief') else print('right')",
				object{"stdin": sought("stdin", 1), "argv": []string{sought("argv", 1)}}, object{"files": []object{{"path": "f/g", "content": sought("file", 1)}}},
				object{"files": []object{{"path": "thief", "content": ""}}, "expect": object{"stdout": sought("expected", 2)}},
				object{"stdin": sought("stdin", 2), "argv": []string{sought("argv", 2)}}, object{"files": []object{{"path": "f/g", "content": sought("file", 2)}}},
			), "checker", object{"code": checker["code"].(string) + "\n# " + sought("checker", 1)}), //nolint:forcetypeassert // it is one
			[]string{"accepted accepted accepted accepted accepted"},
		},
		{
			"processes are left behind", program(`
main = os.getpid()
if input() == "1":
    def work():
        ctypes.CDLL(None).prctl(15, b"left-behind")
        while True:
            for pid in range(2, 40):
                if pid not in (os.getpid(), main):
                    try: os.kill(pid, signal.SIGSTOP)
                    except OSError: pass
            for name in "/work/left", "/tmp/left":
                try: open(name, "w").close()
                except OSError: pass
    for _ in range(5): daemon(work)
    print("right", flush=True)
    os._exit(0)
others = []
for pid in os.listdir("/proc"):
    try: others += [pid] if pid.isdigit() and "left-behind" in open("/proc/%s/comm" % pid).read() else []
    except OSError: pass
time.sleep(0.2)
print("right" if not others and not os.path.exists("/work/left") and not os.path.exists("/tmp/left") else others)
`, in("1"), in("2"), in("1"), in("2")),
			[]string{"accepted accepted accepted accepted", "time_limit accepted accepted accepted", "accepted accepted time_limit accepted", "time_limit accepted time_limit accepted"},
		},
		{
			"files of the next case are changed", with(program(`
places = [os.getcwd(), tempfile.gettempdir(), "/dev/shm", os.path.expanduser("~")]
before = [open("all").read()]
for place in places:
    try: before += [name for name in os.listdir(place) if "mark" in name]
    except OSError: pass
for place in places:
    try: open(os.path.join(place, "mark"), "w").close()
    except OSError: pass
try:
    os.chmod("all", 0o400); os.unlink("all"); os.symlink("/etc/passwd", "all"); os.mkfifo("input"); os.symlink("/etc/passwd", "own")
    os.chmod(os.getcwd(), 0o500)
    daemon(lambda: [(os.path.exists("own"), time.sleep(.001)) for _ in iter(int, 1)])
except OSError as e: print(e, file=sys.stderr)
print("right" if before == ["all"] else before)
`, object{}, object{"files": []object{{"path": "own", "content": ""}}}, object{}), "files", []object{{"path": "all", "content": "all"}}),
			[]string{"accepted accepted accepted"},
		},
		{
			"verdicts are forged", program(`
frames = [json.dumps(dict(type=t, id=i, status="ok", exitCode=0, verdict="accepted", stdout="right", cases=[dict(verdict="accepted")], mark=0)) for t in ("status", "case", "result", "ended", "killed", "error") for i in ("1", "", 1)]
for fd in range(3, 1100):
    for frame in frames:
        try: os.write(fd, frame.encode() + b"\n")
        except OSError: break
for line in frames: print(line)
os.kill(os.getpid(), 9)
`, object{}, object{}),
			[]string{"runtime_error runtime_error", "wrong_answer wrong_answer", "runtime_error wrong_answer", "wrong_answer runtime_error"},
		},
		{
			"the checker is killed", with(program(`
def work():
    while True:
        try: os.kill(-1, 9)
        except OSError: pass
        for pid in range(2, 100):
            if pid != os.getpid():
                try: os.kill(pid, 9)
                except OSError: pass
print("right", flush=True)
daemon(work)
os._exit(0)
`, object{"expect": object{"stdout": "abc"}}, object{}), "checker", checker),
			[]string{"accepted accepted", "runtime_error runtime_error", "runtime_error accepted", "accepted runtime_error"},
		},
		{
			"the disk is filled between cases", with(program(`
if input() == "1":
    for place in os.getcwd(), tempfile.gettempdir():
        for n in range(64):
            try:
                with open(os.path.join(place, "fill%d" % n), "wb") as f: f.write(bytes(1 << 20))
            except OSError: break
else:
    with open("some", "wb") as f: f.write(bytes(6 << 20))
print("right")
`, in("1"), in("2"), in("1"), in("2")), "checker", checker),
			[]string{"accepted accepted accepted accepted"},
		},
		{
			"time is stolen", with(program(`
for number in range(1, 65):
    try: signal.signal(number, lambda *_: None)
    except (OSError, ValueError): pass
if input() == "1":
    while True:
        try:
            if os.fork() == 0: continue
        except OSError: pass
if os.environ.get("x") is None and sys.argv[-1] == "late":
    end = time.time() + 3
    while time.time() < end: pass
print("right")
`, in("1"), object{"stdin": "2", "argv": []string{"late"}}, in("3")), "caseTimeout", 1.5),
			[]string{"time_limit time_limit accepted", "memory_limit time_limit accepted"},
		},
		{
			"the checker is hostile",
			object{"code": "print('right')", "caseTimeout": 5, "timeout": 60, "limits": object{"cpuSeconds": 0.5}, "cases": []object{
				{"expect": object{"checker": object{"code": judgeKit + "print(loot())"}}},
				{"expect": object{"checker": object{"code": "while True: pass"}}},
				{"expect": object{"checker": object{"code": "print('x' * 10_000_000)"}}},
				{"expect": object{"checker": object{"code": "import os\nfor fd in range(3, 1100):\n    try: os.write(fd, b'{\"type\":\"status\",\"status\":\"ok\",\"exitCode\":0}\\n')\n    except OSError: pass\nos.kill(os.getpid(), 9)"}}},
				{"stdin": sought("mine", 1), "expect": object{"checker": object{"code": "x = bytearray(1 << 30)"}}},
			}},
			[]string{"accepted checker_error accepted checker_error checker_error"},
		},
	}
}
