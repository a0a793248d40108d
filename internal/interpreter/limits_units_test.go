package interpreter

import (
	"bufio"
	"os/exec"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestKernelLimit: the watchdog comes first, and knows why it ends the code.
func TestKernelLimit(t *testing.T) {
	t.Parallel()
	for own, want := range map[time.Duration]int64{10 * time.Millisecond: 2, time.Second: 3, 8 * time.Second: 10, time.Hour: 4051} {
		if got := kernelLimit(own); got != want {
			t.Errorf("%s: %d s, want %d", own, got, want)
		}
	}
}

func TestInUnits(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{
		512: "512 bytes", 1 << 10: "1 KiB", 512 << 20: "512 MiB", 512<<20 + 1: "512 MiB", 3 << 29: "1.5 GiB", 4096 << 30: "4096 GiB",
	} {
		if got := inUnits(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
}

// TestMemoryAbove: the memory of all processes is added up, but not further than to the limit in question.
func TestMemoryAbove(t *testing.T) {
	t.Parallel()
	const each, children = 40 << 20, 4
	family := exec.CommandContext(t.Context(), testenv.SystemPython(), "-c", `
import os
for _ in range(4):
    if not os.fork():
        data = bytearray(b"x") * (40 << 20)
        print(flush=True)
        os.read(0, 1)
        os._exit(0)
os.read(0, 1)`)
	in, err := family.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := family.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := family.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = family.Wait() }()
	lines := bufio.NewScanner(out)
	for range children {
		if !lines.Scan() {
			t.Fatal("a child has ended")
		}
	}
	s := &slot{pid: family.Process.Pid}
	if all := s.memory(); all < children*each {
		t.Errorf("%d bytes in all, want %d or more", all, children*each)
	}
	if few := s.memoryAbove(each); few <= each || few > 2*each+each/2 {
		t.Errorf("%d bytes, want those of the first process or two above %d", few, each)
	}
	if !s.exceeds(each) || s.exceeds(10*children*each) {
		t.Error("a limit between none and all of the memory is exceeded, and one above it is not")
	}
}
