package app_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestBinaries is what only the three commands as they are built can show.
func TestBinaries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const app = "github.com/kaa-run/kaa/internal/app"
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", // with what is compiled already for the tests
		"-ldflags", "-s -w -X "+app+".version=v9.8.7 -X "+app+".commit=0123456789abcdef -X "+app+".date=2026-01-02",
		"./cmd/api", "./cmd/runner", "./cmd/kaa")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	binary := func(name string) string { return filepath.Join(dir, name) }
	t.Run("version", func(t *testing.T) {
		t.Parallel()
		for _, args := range [][]string{
			{"api", "--version"}, {"api", "version"}, {"runner", "--version"}, {"runner", "-v"}, {"kaa", "--version"}, {"kaa", "version"},
		} {
			out, err := exec.CommandContext(t.Context(), binary(args[0]), args[1:]...).Output()
			want := args[0] + " v9.8.7 (commit 0123456789abcdef, 2026-01-02, go1."
			if err != nil || !strings.HasPrefix(string(out), want) {
				t.Errorf("%v: %v %q, want %q", args, err, out, want)
			}
		}
	})
	t.Run("size", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"api", "runner", "kaa"} {
			info, err := os.Stat(binary(name))
			if err != nil {
				t.Fatal(err)
			}
			// kaa has 39 MB with its Redis, the dialects and their libraries, and 30 as the Makefile builds it.
			// A template in a binary would keep the linker from leaving out unused methods.
			const most = 41_000_000
			if info.Size() > most {
				t.Errorf("%s has %d bytes, want at most %d", name, info.Size(), most)
			}
		}
	})
	t.Run("size as the Makefile builds", func(t *testing.T) {
		t.Parallel()
		testenv.Long(t)
		build := exec.CommandContext(t.Context(), "make", "--silent", "build")
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, name := range []string{"api", "runner", "kaa"} {
			info, err := os.Stat(filepath.Join("../../bin", name))
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() > 30_000_000 {
				t.Errorf("%s has %d bytes, want at most 30 MB", name, info.Size())
			}
		}
	})
	t.Run("help", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"api", "runner", "kaa"} {
			for _, arg := range []string{"--help", "help", "-h"} {
				out, err := exec.CommandContext(t.Context(), binary(name), arg).Output()
				if err != nil || !strings.Contains(strings.ToLower(string(out)), "usage:") {
					t.Errorf("%s %s: %v %q", name, arg, err, out)
				}
			}
		}
		if err := exec.CommandContext(t.Context(), binary("api"), "nonsense").Run(); testenv.ExitCode(err) != 2 {
			t.Errorf("an unknown argument: %v, want exit code 2", err)
		}
	})
	t.Run("wrong configuration", func(t *testing.T) {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), binary("runner"))
		cmd.Env = []string{"KAA_CONCURRENCY=-1", "KAA_KILL_GRACE=0", "PATH=" + os.Getenv("PATH")}
		var log bytes.Buffer
		cmd.Stderr = &log
		err := cmd.Run()
		lines := logLines(t, log.String())
		if testenv.ExitCode(err) != 1 || len(lines) != 2 || lines[0]["level"] != "ERROR" || lines[1]["problem"] != "KAA_KILL_GRACE must be above 0" {
			t.Errorf("%v\n%s", err, log.String())
		}
	})
	t.Run("left by a kill", func(t *testing.T) {
		t.Parallel()
		testLeftovers(t, binary("kaa"))
	})
	for _, tt := range []struct {
		name    string
		ignored bool
		signals []syscall.Signal
	}{
		{"hangup drains", false, []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP}},
		{"hangup is ignored with nohup", true, []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			testHangup(t, binary("api"), tt.ignored, tt.signals)
		})
	}
}

// testHangup starts the API and sends it signals. Each of them has to leave it the time to end as
// it should, and the last but one of an ignored one has to leave it running.
func testHangup(t *testing.T, binary string, ignored bool, signals []syscall.Signal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	argv := []string{"/bin/sh", "-c", `exec env --default-signal=HUP "$0"`, binary} // nohup may run the tests
	if ignored {
		argv[2] = `trap "" HUP; exec "$0"`
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "KAA_ADDR=127.0.0.1:0", "KAA_REDIS_URL="+testenv.Redis(t).URL, "KAA_BLOB_URL=file://"+t.TempDir(), "KAA_SHUTDOWN_DELAY=500ms")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	lines := bufio.NewScanner(io.TeeReader(stderr, &log))
	listening := false
	for !listening && lines.Scan() {
		listening = strings.Contains(lines.Text(), `"msg":"listening"`)
	}
	for _, s := range signals {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if ignored && s == syscall.SIGHUP {
			continue // what it does with it would show in what the next one finds
		}
	}
	for more := true; more; {
		more = lines.Scan()
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	if text := log.String(); !strings.Contains(text, `"msg":"stopped"`) || ignored != strings.Contains(text, `"signal":"terminated"`) {
		t.Errorf("the log:\n%s", text)
	}
}

// testLeftovers: `kaa dev` removes what one that was killed has left, and nothing of one that runs.
func testLeftovers(t *testing.T, binary string) {
	t.Helper()
	tmp := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	startDev := func() *exec.Cmd {
		t.Helper()
		cmd := exec.CommandContext(ctx, binary, "dev")
		cmd.Env = []string{"KAA_ADDR=127.0.0.1:0", "KAA_PYTHON=" + testenv.SystemPython(), "TMPDIR=" + tmp, "PATH=" + os.Getenv("PATH")}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "Kaa is ready") {
				return cmd
			}
		}
		t.Fatal("kaa dev does not start")
		return nil
	}
	directories := func() []string {
		t.Helper()
		entries, err := os.ReadDir(tmp)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return names
	}
	startDev()
	ofFirst := directories()
	second := startDev()
	if err := second.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = second.Wait()
	left := directories()
	third := startDev()
	now := directories()
	for _, name := range left {
		if wanted := slices.Contains(ofFirst, name); wanted != slices.Contains(now, name) {
			t.Errorf("%s: of a Kaa that runs: %v; all: %v", name, wanted, now)
		}
	}
	if err := third.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := third.Wait(); err != nil {
		t.Error(err)
	}
	if end := directories(); len(ofFirst) < 2 || len(left) < 4 || !slices.Equal(end, ofFirst) {
		t.Errorf("of the first %v; beside what the killed one left %v; in the end %v", ofFirst, left, end)
	}
}
