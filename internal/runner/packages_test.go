package runner_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
)

type fakePackages struct {
	err  error
	spec job.PackageSpec // what was asked for
}

func (*fakePackages) Take(context.Context, string, job.PackageSpec, func(func(io.Writer) error) error) error {
	return nil
}

func (f *fakePackages) Prepare(ctx context.Context, _ string, list func(context.Context) (job.PackageSpec, error)) error {
	spec, err := list(ctx)
	if err != nil {
		return err
	}
	f.spec = spec
	return f.err
}

// TestPackages: a job whose packages are not there is not claimed, and ends if they cannot be had.
func TestPackages(t *testing.T) {
	t.Parallel()
	list := []string{"alpha", "beta==1"}
	name := job.WithPackages("", list)
	preparing := &job.PreparingError{Done: make(chan struct{})}
	for _, tt := range []struct {
		name      string
		installer runner.Packages
		err       error
		did       []string
	}{
		{"off", nil, nil, []string{"rejected: packages_unavailable"}},
		{"refused", &fakePackages{err: &job.RefusedError{Code: job.FailPackages}}, nil, []string{"rejected: packages_unresolved"}},
		{"under way", &fakePackages{err: preparing}, preparing, nil},
		{"settled", &fakePackages{err: job.ErrNotFound}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := &fakeStore{packages: list}
			cfg := runner.Config{
				Self: job.Runner{ID: "r", Runtimes: []job.Runtime{{Name: "python", Default: true}}}, Records: store, Registry: store,
				Workers: &fakeWorkers{}, Observer: noObserver{}, Log: slog.New(slog.DiscardHandler), Packages: tt.installer,
			}
			err := runner.New(cfg).Handle(t.Context(), "j", name)
			if !errors.Is(err, tt.err) {
				t.Errorf("Handle: %v, want %v", err, tt.err)
			}
			if got := store.log(); !slices.Equal(got, tt.did) {
				t.Errorf("did %q, want %q", got, tt.did)
			}
			if f, ok := tt.installer.(*fakePackages); ok && !slices.Equal(f.spec.Packages, list) {
				t.Errorf("asked for %+v", f.spec)
			}
		})
	}
}
