package cli_test

import (
	"context"
	"io"
	"net"
	"os"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/devredis"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// start runs a Kaa until the end of the test and returns its URL; vars are NAME=VALUE.
func start(tb testing.TB, vars ...string) string {
	tb.Helper()
	ready, done := make(chan net.Addr, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	logs := new(testenv.Buffer)
	p := app.Process{
		Environ: append(app.Environment{"KAA_ADDR=127.0.0.1:0", "KAA_CONCURRENCY=2", "KAA_PYTHON=" + testenv.SystemPython(), "KAA_WORK_DIR=" + tb.TempDir()}, vars...),
		Stdout:  io.Discard, Stderr: logs, Redis: devredis.Start, Ready: func(a net.Addr) { ready <- a },
	}
	go func() { done <- app.RunDev(ctx, p) }()
	select {
	case addr := <-ready:
		tb.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				tb.Errorf("stop: %v", err)
			}
		})
		return "http://" + addr.String()
	case err := <-done:
		cancel()
		tb.Fatalf("start: %v\n%s", err, logs)
		return ""
	}
}
