package interpreter_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
)

// levels is a log that keeps the levels of its lines.
type levels struct {
	slog.Handler
	all []slog.Level
}

func (*levels) Enabled(context.Context, slog.Level) bool { return true }

func (l *levels) Handle(_ context.Context, r slog.Record) error { //nolint:gocritic // slog's interface
	l.all = append(l.all, r.Level)
	return nil
}

// TestFailuresAreLoggedOnce: a zygote that cannot be started while its slots live makes spawns
// fail and succeed in turns. The log says so once a minute, whatever the turns.
func TestFailuresAreLoggedOnce(t *testing.T) {
	t.Parallel()
	failure, other := errors.New("no interpreter"), errors.New("no memory")
	const failed, well = slog.LevelError, slog.LevelInfo
	for _, tt := range []struct {
		name string
		ends []error
		step time.Duration
		want []slog.Level
	}{
		{"in turns", slices.Repeat([]error{failure, failure, failure, nil}, 10), time.Second, []slog.Level{failed, well}},
		{"in turns without being sick", slices.Repeat([]error{failure, nil}, 20), time.Second, []slog.Level{failed}},
		{"for minutes", slices.Repeat([]error{failure}, 150), time.Second, []slog.Level{failed, failed, failed}},
		{"well again", append(slices.Repeat([]error{failure}, 5), nil, nil, nil), time.Second, []slog.Level{failed, well}},
		{"again after a minute", append(slices.Repeat([]error{failure}, 5), nil, failure), 61 * time.Second, []slog.Level{failed, failed, failed, failed, failed, well, failed}},
		{"another reason", []error{failure, other, other}, time.Second, []slog.Level{failed, failed}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := new(levels)
				diagnose := interpreter.Diagnoses(slog.New(log))
				for _, err := range tt.ends {
					diagnose(err)
					time.Sleep(tt.step)
				}
				if !slices.Equal(log.all, tt.want) {
					t.Errorf("logged %v, want %v", log.all, tt.want)
				}
			})
		})
	}
}
