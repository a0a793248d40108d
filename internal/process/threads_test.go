package process_test

import (
	"os"
	"testing"

	"github.com/kaa-run/kaa/internal/process"
)

func TestKeepThreads(t *testing.T) {
	t.Parallel()
	const most = 100
	process.KeepThreads(most)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) < most {
		t.Errorf("there are %d threads, want at least %d: %v", len(threads), most, err)
	}
}
