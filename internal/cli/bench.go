package cli

import (
	"context"
	"fmt"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/bench"
)

// Bench loads the Kaa at KAA_URL, and another one in turn if compare has an address, and prints what it has measured. It returns ExitError(1) if
// executions failed.
func Bench(ctx context.Context, p app.Process, o bench.Options, compare string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	o.Targets = []bench.Target{{URL: c.URL(), Key: c.Key()}}
	if compare != "" {
		o.Targets = append(o.Targets, bench.Target{URL: compare, Key: c.Key()})
	}
	r, err := bench.Run(ctx, o)
	if err != nil {
		return err
	}
	failed := 0
	for _, f := range r.Targets {
		for why, n := range f.Errors {
			failed += n
			_, _ = fmt.Fprintf(p.Stderr, "kaa: %s: %d executions failed: %s\n", f.URL, n, why)
		}
	}
	if inJSON(p.Stdout) {
		err = encode(p.Stdout, r)
	} else {
		t := table{}
		for _, row := range r.Rows() {
			t.add(row...)
		}
		err = t.print(p.Stdout)
	}
	if err == nil && failed > 0 {
		return ExitError(1)
	}
	return err
}
