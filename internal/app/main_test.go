package app_test

import (
	"runtime"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
)

func TestShareProcessors(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	runtime.SetDefaultGOMAXPROCS()
	all := runtime.GOMAXPROCS(0)
	undo := app.ShareProcessors()
	if got := runtime.GOMAXPROCS(0); got != (all+1)/2 {
		t.Errorf("Go uses %d of %d processors, want half of them", got, all)
	}
	undo()
	if got := runtime.GOMAXPROCS(0); got != all {
		t.Errorf("after undo Go uses %d processors, want %d", got, all)
	}

	// Back to what Go would use by itself, whatever that is by then.
	runtime.GOMAXPROCS(all + 2)
	app.ShareProcessors()()
	if got := runtime.GOMAXPROCS(0); got != all {
		t.Errorf("after undo Go uses %d processors, want %d, as many as there are", got, all)
	}

	t.Setenv("GOMAXPROCS", "3") // the operator's choice
	app.ShareProcessors()()
	if got := runtime.GOMAXPROCS(0); got != all {
		t.Errorf("with GOMAXPROCS set Go uses %d processors, want %d still", got, all)
	}
}
