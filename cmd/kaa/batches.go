package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/cli"
)

func batchesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "batches",
		Short: "Submit and watch batches of jobs",
		Long:  "Submit and watch batches of the Kaa at KAA_URL, with the key KAA_API_KEY. Without a command: list them.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cli.ListBatches(cmd.Context(), process(cmd)) },
	}
	var o cli.BatchOptions
	submit := &cobra.Command{
		Use: "submit FILE", Short: "Submit the jobs of a file, a line of JSON each; - for the standard input", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Stdin = os.Stdin
			return cli.SubmitBatch(cmd.Context(), process(cmd), args[0], o)
		},
	}
	submit.Flags().StringVar(&o.Name, "name", "", "a name for people")
	submit.Flags().BoolVar(&o.SkipBad, "skip-bad", false, "leave bad lines out, and do not refuse the batch for them")
	submit.Flags().BoolVar(&o.Archive, "archive", false, "keep all results as one compressed object (kaa batches archive)")
	submit.Flags().StringVar(&o.Key, "idempotency-key", "", "the same key and lines make one batch, and continue one that broke off")
	var r cli.ResultOptions
	results := &cobra.Command{
		Use: "results ID", Short: "Print the results, a line of JSON each", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.BatchResults(cmd.Context(), process(cmd), args[0], r)
		},
	}
	results.Flags().StringVar(&r.Order, "order", "", "submission (default) or completion")
	results.Flags().StringVar(&r.Cursor, "cursor", "", "go on after the line that has this cursor")
	results.Flags().StringSliceVar(&r.Status, "status", nil, "only results with these statuses, e.g. error")
	results.Flags().StringSliceVar(&r.States, "state", nil, "only jobs in these states, e.g. failed")
	results.Flags().BoolVar(&r.Follow, "follow", false, "go on until all jobs have ended")
	cmd.AddCommand(submit, results,
		&cobra.Command{Use: "get ID", Short: "Show the progress of a batch", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return cli.ShowBatch(cmd.Context(), process(cmd), args[0])
		}},
		&cobra.Command{Use: "archive ID", Short: "Write the archive of a batch to the standard output: NDJSON, compressed by gzip", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return cli.BatchArchive(cmd.Context(), process(cmd), args[0])
		}},
		&cobra.Command{Use: "cancel ID", Short: "Cancel the jobs of a batch that have not ended", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return cli.CancelBatch(cmd.Context(), process(cmd), args[0])
		}},
	)
	return cmd
}
