package interpreter_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
)

// TestFilesPutAreMemory: what is put into a session counts for its memory: no more can be put
// than it has, its code has so much less, and gets it back when the files are gone.
func TestFilesPutAreMemory(t *testing.T) {
	t.Parallel()
	for control, pool := range map[string]func(*testing.T, ...func(*interpreter.Config)) *interpreter.Pool{
		"as it is here": func(t *testing.T, change ...func(*interpreter.Config)) *interpreter.Pool {
			t.Helper()
			return newPool(t, change...)
		},
		"watchdog": watchedPool,
	} {
		t.Run(control, func(t *testing.T) {
			t.Parallel()
			filesPutAreMemory(t, pool(t))
		})
	}
}

func filesPutAreMemory(t *testing.T, p *interpreter.Pool) {
	t.Helper()
	const limit, each = 96 << 20, 16 << 20
	s := session(t, p, job.SessionSpec{Quota: job.Quota{MemoryBytes: limit, DiskBytes: 1 << 30, FileBytes: 1 << 30}})
	put := 0
	var err error
	for put = 0; put < 2*limit/each && err == nil; put++ {
		err = s.Put(fmt.Sprintf("f%d", put), bytes.NewReader(make([]byte, each)))
	}
	put-- // which was refused
	refused, ok := errors.AsType[*job.RefusedError](err)
	if !ok || refused.Code != job.FailDisk || put*each > limit || put*each < limit/2 {
		t.Fatalf("%d files, then %v", put, err)
	}
	run := func(code, want string) {
		t.Helper()
		res, _, err := s.Execute(t.Context(), job.Spec{Code: code}, job.Live{})
		if err != nil || !strings.Contains(res.Stdout, want) {
			t.Errorf("%s: %+v, %v", code, res, err)
		}
	}
	run("import os; print(len(os.listdir()))", fmt.Sprint(put))
	for n := range put {
		if err := s.RemoveFile(fmt.Sprintf("f%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	run("print(len(bytearray(64 << 20)))", fmt.Sprint(64<<20))
	if err := s.Put("again", bytes.NewReader(make([]byte, each))); err != nil {
		t.Error(err)
	}
	res, end, err := s.Execute(t.Context(), job.Spec{Code: "import time\nx = b'x' * (85 << 20)\ntime.sleep(60)"}, job.Live{})
	if err != nil || end == nil && res.Limit != job.LimitMemory {
		t.Errorf("beside a file it had all of its memory: %+v, %v", res, err)
	}
}
