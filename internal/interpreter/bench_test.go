package interpreter_test

import (
	"os/exec"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
)

// BenchmarkExecute is print(42) on a parked worker. Making the next worker is
// outside the measured time, so it shows the latency of a warm pool.
func BenchmarkExecute(b *testing.B) {
	p := newPool(b, func(c *interpreter.Config) { c.Size = 1 })
	for b.Loop() {
		b.StopTimer()
		settled(b, p)
		b.StartTimer()
		benchOnce(b, p)
	}
}

// BenchmarkNextAfter is an execution with all that follows until the next worker is parked,
// without and with use of the network, which is replaced then.
func BenchmarkNextAfter(b *testing.B) {
	for _, bm := range []struct{ name, code string }{
		{"socket", "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 8000)); s.listen()\nprint(42)"},
		{"TCP", "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 8000)); s.listen()\n" +
			"c = socket.create_connection(('127.0.0.1', 8000)); a = s.accept()\nprint(42)"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			p := newPool(b, func(c *interpreter.Config) { c.Size = 1 })
			for b.Loop() {
				benchCode(b, p, bm.code)
				settled(b, p)
			}
		})
	}
}

// BenchmarkThroughput makes workers and runs print(42) on them as fast as it can.
func BenchmarkThroughput(b *testing.B) {
	p := newPool(b, func(c *interpreter.Config) { c.Size = 4 })
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			benchOnce(b, p)
		}
	})
}

// BenchmarkBareSpawn is what a service without a pool would do.
func BenchmarkBareSpawn(b *testing.B) {
	for b.Loop() {
		spawnBare(b)
	}
}

func BenchmarkBareSpawnThroughput(b *testing.B) {
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			spawnBare(b)
		}
	})
}

func spawnBare(b *testing.B) {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), python(), "-I", "-c", "print(42)").Output()
	if err != nil || string(out) != "42\n" {
		b.Errorf("bare spawn: %q, %v", out, err)
	}
}

func benchOnce(b *testing.B, p *interpreter.Pool) {
	b.Helper()
	benchCode(b, p, "print(42)")
}

// benchCode executes code that prints 42.
func benchCode(b *testing.B, p *interpreter.Pool, code string) {
	b.Helper()
	w, err := p.Acquire(b.Context(), "")
	if err != nil {
		b.Error(err)
		return
	}
	res, err := w.Execute(b.Context(), job.Spec{Code: code, Timeout: ample}, job.Live{})
	if err != nil || res.Stdout != "42\n" {
		b.Errorf("got %+v, %v", res, err)
	}
	if err := w.Close(); err != nil {
		b.Error(err)
	}
}

// settled waits until the pool has parked a worker again.
func settled(b *testing.B, p *interpreter.Pool) {
	b.Helper()
	if err := p.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
}
