package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

func batchesCommand() *cobra.Command {
	var o cli.BatchOptions
	submit := one("submit FILE", "Submit the jobs of a file, a line of JSON each; - for the standard input", func(ctx context.Context, p app.Process, path string) error {
		o.Stdin = os.Stdin
		return cli.SubmitBatch(ctx, p, path, o)
	})
	submit.Flags().StringVar(&o.Name, "name", "", "a name for people")
	submit.Flags().BoolVar(&o.SkipBad, "skip-bad", false, "leave bad lines out, and do not refuse the batch for them")
	submit.Flags().BoolVar(&o.Archive, "archive", false, "keep all results as one compressed object (kaa batches archive)")
	submit.Flags().StringVar(&o.Key, "idempotency-key", "", "the same key and lines make one batch, and continue one that broke off")
	var r cli.ResultOptions
	results := one("results ID", "Print the results, a line of JSON each", func(ctx context.Context, p app.Process, id string) error {
		return cli.BatchResults(ctx, p, id, r)
	})
	results.Flags().StringVar(&r.Order, "order", "", "submission (default) or completion")
	results.Flags().StringVar(&r.Cursor, "cursor", "", "go on after the line that has this cursor")
	results.Flags().StringSliceVar(&r.Status, "status", nil, "only results with these statuses, e.g. error")
	results.Flags().StringSliceVar(&r.States, "state", nil, "only jobs in these states, e.g. failed")
	results.Flags().BoolVarP(&r.Follow, "follow", "f", false, "go on until all jobs have ended")
	return group("batches", "Submit and watch batches of jobs", "Submit and watch batches"+ofTheKaa,
		command("ls", "List the newest batches", cobra.NoArgs, func(ctx context.Context, p app.Process, _ []string) error { return cli.ListBatches(ctx, p) }),
		submit, results,
		one("get ID", "Show the progress of a batch", cli.ShowBatch),
		one("archive ID", "Write the archive of a batch to the standard output: NDJSON, compressed by gzip", cli.BatchArchive),
		one("cancel ID", "Cancel the jobs of a batch that have not ended", cli.CancelBatch),
	)
}
