package interpreter_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// previous is an execution of which the next one in its slot must find nothing.
type previous struct {
	name string
	// run executes it and returns what would tell of it, each as bytes that are nowhere else in memory. n is a
	// number that it can use for that.
	run func(t *testing.T, pool *interpreter.Pool, n int) map[string][]byte
}

// leaveOrphans is code that leaves processes to its slot, of which the slot has to add up what they used.
const leaveOrphans = `
import os, sys
for i in range(3):
    if os.fork() == 0:
        if os.fork() == 0: os._exit(int(1))
        os._exit(0)
    os.wait()
`

// takeMemory is code that makes the peak of its memory a number that is nowhere else, near 50 MB and n KB.
func takeMemory(n int) string { return fmt.Sprintf("x = b'x' * ((36000 + %d) * 1024); del x\n", n) }

// executed runs code and returns its peak of memory as its slot had it, in KB.
func executed(t *testing.T, pool *interpreter.Pool, spec job.Spec) map[string][]byte {
	t.Helper()
	spec.Timeout = ample
	w := acquire(t, pool)
	if _, err := w.Execute(t.Context(), spec, job.Live{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, maxRSS := w.Usage()
	if maxRSS < 30<<20 {
		t.Fatalf("the slot says %d bytes", maxRSS)
	}
	return map[string][]byte{"peak of memory": binary.NativeEndian.AppendUint32(nil, uint32(maxRSS/1024))}
}

func previousOnes() []previous {
	return []previous{
		{"exits", func(t *testing.T, pool *interpreter.Pool, n int) map[string][]byte {
			t.Helper()
			return executed(t, pool, job.Spec{Code: takeMemory(n) + "import os; os._exit(77)"})
		}},
		{"leaves processes", func(t *testing.T, pool *interpreter.Pool, n int) map[string][]byte {
			t.Helper()
			return executed(t, pool, job.Spec{Code: takeMemory(n) + leaveOrphans + "import subprocess; subprocess.Popen(['sleep', '600'])"})
		}},
		{"leaves files", func(t *testing.T, pool *interpreter.Pool, n int) map[string][]byte {
			t.Helper()
			return executed(t, pool, job.Spec{Code: takeMemory(n) + leaveOrphans + "open('f', 'w').write('x')"})
		}},
		{"has another disk", func(t *testing.T, pool *interpreter.Pool, n int) map[string][]byte {
			t.Helper()
			size := int64(90_000_000 + n*4096)
			quota := job.Quota{
				MemoryBytes: 512 << 20, CPUs: 1, Processes: 128, OpenFiles: 1024, FileBytes: 1 << 20, DiskBytes: size,
				OutputBytes: 1 << 20, ResultBytes: 1 << 20,
			}
			all := executed(t, pool, job.Spec{Code: takeMemory(n) + "open('f', 'w').write('x')", Quota: quota})
			all["size of its disk"] = []byte(strconv.FormatInt(size, 10))
			all["size of its disk as a number"] = binary.NativeEndian.AppendUint32(nil, uint32(size))
			return all
		}},
		{"sends packets", func(t *testing.T, pool *interpreter.Pool, n int) map[string][]byte {
			t.Helper()
			const each, headers = 60000, 28
			code := fmt.Sprintf(`
import socket
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
a.bind(("127.0.0.1", 0))
for size in [60000] * 40 + [%d]:
    a.sendto(bytes(size), a.getsockname())
    a.recv(70000)
`, n)
			all := executed(t, pool, job.Spec{Code: takeMemory(n) + code})
			all["bytes over the loopback"] = []byte(strconv.Itoa(40*(each+headers) + n + headers))
			return all
		}},
		{"has copies", func(t *testing.T, pool *interpreter.Pool, n int) map[string][]byte {
			t.Helper()
			s := session(t, pool, job.SessionSpec{})
			step(t, s, job.Spec{Code: takeMemory(n)})
			copied := fork(t, s, 1)[0]
			dir := strings.TrimSpace(step(t, copied, job.Spec{Code: "import os; print(os.path.basename(os.getcwd()))"}).Stdout)
			for _, one := range []*interpreter.Session{s, copied} {
				if err := one.Close(); err != nil {
					t.Error(err)
				}
			}
			return map[string][]byte{"name of a directory": []byte(dir)}
		}},
	}
}

// look is code that takes a picture of its memory, and only then looks at what it is to look for.
const look = `
import os
picture = []
with open("/proc/self/maps") as maps:
    lines = list(maps)
with open("/proc/self/mem", "rb", 0) as memory:
    for line in lines:
        fields = line.split()
        if "w" in fields[1]:
            first, last = [int(word, 16) for word in fields[0].split("-")]
            memory.seek(first)
            picture.append(memory.read(last - first))
for word in os.environ["LOOK_FOR"].split():
    name, _, text = word.partition("=")
    marker = bytes(byte ^ 0x5a for byte in bytes.fromhex(text))
    for piece in picture:
        at = piece.find(marker)
        while at >= 0:
            if len(marker) != 4 or at % 4 == 0:
                print(name)
                break
            at = piece.find(marker, at + 1)
`

// lookFor has the next executions look, of which one is in the slot of the last.
func lookFor(t *testing.T, pool *interpreter.Pool, words string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for range 3 {
		res := execute(t, pool, job.Spec{Code: look, Envs: map[string]string{"LOOK_FOR": words}})
		if res.Status != job.StatusOK {
			t.Fatalf("%s\n%s", outcome(res), res.Stderr)
		}
		for name := range strings.FieldsSeq(res.Stdout) {
			found[name] = true
		}
	}
	return found
}

// An execution has a process that was forked from one that has seen the end of the one before it. Nothing of that
// is in its memory. A number of 4 bytes may be there by chance, so it counts only if it is found again and again.
func TestNothingOfThePreviousInMemory(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		for _, previous := range previousOnes() {
			if previous.name == "sends packets" && level != sandbox.Strict {
				continue // there is no network of its own
			}
			t.Run(previous.name, func(t *testing.T) {
				t.Parallel()
				pool := newPool(t, withLevel(level), func(c *interpreter.Config) { c.Size = 1 })
				const rounds = 3
				found := map[string]int{}
				for range rounds {
					var words []string
					for name, marker := range previous.run(t, pool, 1000+rand.IntN(8000)) {
						for i := range marker {
							marker[i] ^= 0x5a
						}
						words = append(words, strings.ReplaceAll(name, " ", "-")+"="+hex.EncodeToString(marker))
					}
					for name := range lookFor(t, pool, strings.Join(words, " ")) {
						found[name]++
					}
				}
				for name, times := range found {
					if times > 1 {
						t.Errorf("%s: found after %d of %d", name, times, rounds)
					}
				}
			})
		}
	})
}

// Nor is it in what the kernel tells of processes: their numbers begin anew, and what a slot has waited for is added up
// where nobody sees it.
func TestNothingOfThePreviousInProc(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 1 })
	const code = `
import os, subprocess
print(os.getpid(), sorted(name for name in os.listdir("/proc") if name.isdigit()), os.path.exists("/proc/1"), os.path.exists("/proc/1/stat"))
for _ in range(20): subprocess.run("true")
open("f", "w")
`
	slots := map[int]int{}
	for range 8 {
		w := acquire(t, pool)
		res, err := w.Execute(t.Context(), job.Spec{Code: code, Timeout: ample}, job.Live{})
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		slots[w.SlotPid()]++
		wantText(t, res, "ok 0", "2 ['2'] False False\n", "")
	}
	if len(slots) == 8 {
		t.Error("each execution had a slot of its own")
	}
}

// Nor do terminals tell: those of a slot were last used when they were made. The kernel notes their use by 8 seconds.
func TestNothingOfThePreviousInTerminals(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 1 })
	const code = `
import os, time
def times():
    found = os.stat("/dev/pts/ptmx")
    return found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns
print(len(set(times())))
before = times()
while times() == before:
    master, slave = os.openpty()
    os.write(slave, b"x\\n")
    os.read(master, 10)
    os.close(master)
    os.close(slave)
    time.sleep(0.05)
`
	slots := map[int]int{}
	for range 4 {
		w := acquire(t, pool)
		res, err := w.Execute(t.Context(), job.Spec{Code: code, Timeout: ample}, job.Live{})
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		slots[w.SlotPid()]++
		wantText(t, res, "ok 0", "1\n", "")
	}
	if len(slots) == 4 {
		t.Error("each execution had a slot of its own")
	}
}

// Nor do the numbers of files: a file system that was used is not lent again, also if what was made had no name.
func TestNothingOfThePreviousInNumbersOfFiles(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 1 })
	const code = `
import os, tempfile
print([os.stat(tempfile.mkstemp(dir=where)[1]).st_ino for where in ("/work", "/tmp")])
for _ in range(7):
    tempfile.TemporaryFile(dir="/work").write(b"x")
    for where in "/work", "/tmp":
        try: os.close(os.open(where, os.O_TMPFILE | os.O_RDWR))
        except OSError: pass
`
	const unnamed = `
import os
for where in "/work", "/tmp":
    try: os.close(os.open(where, os.O_TMPFILE | os.O_RDWR))
    except OSError: pass
`
	found := map[string]bool{}
	slots := map[int]int{}
	for range 4 {
		for range 2 { // of which one is in the slot of the next
			execute(t, pool, job.Spec{Code: unnamed})
		}
		w := acquire(t, pool)
		res, err := w.Execute(t.Context(), job.Spec{Code: code, Timeout: ample}, job.Live{})
		if err = errors.Join(err, w.Close()); err != nil || res.Status != job.StatusOK {
			t.Fatal(err, outcome(res), res.Stderr)
		}
		slots[w.SlotPid()]++
		found[res.Stdout] = true
	}
	if len(found) != 1 || len(slots) == 4 {
		t.Errorf("numbers of first files: %v; slots: %v", found, slots)
	}
}
