package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/cli"
)

func jobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "Cancel and delete many jobs, and run one again",
		Long:  "Cancel and delete many jobs, or run one again, of the Kaa at KAA_URL: those of the tenant of the key KAA_API_KEY, or of\nall tenants if it has the scope admin.",
	}
	bulk := func(what, short, states string) *cobra.Command {
		var o cli.BulkOptions
		c := &cobra.Command{
			Use: what, Short: short, Args: cobra.NoArgs,
			Long: short + ". All that is named has to fit.\nTheir number is shown, and a question asked, unless --yes is given.",
			RunE: func(cmd *cobra.Command, _ []string) error {
				if cmd.Flags().Changed("older-than") && o.OlderThan <= 0 {
					return errors.New("--older-than must be above 0, e.g. 24h")
				}
				o.Stdin = os.Stdin
				return cli.ChangeJobs(cmd.Context(), process(cmd), what, o)
			},
		}
		c.Flags().StringVar(&o.Queue, "queue", "", "only jobs of this queue")
		c.Flags().StringSliceVar(&o.States, "state", nil, "only jobs in these states: "+states)
		c.Flags().StringVar(&o.Runtime, "runtime", "", "only jobs that asked for this runtime")
		c.Flags().Var((*duration)(&o.OlderThan), "older-than", "only jobs that came longer ago, e.g. 24h")
		c.Flags().StringArrayVar(&o.Metadata, "metadata", nil, "NAME=VALUE that the metadata must have; repeatable")
		c.Flags().BoolVar(&o.Yes, "yes", false, "do not ask")
		return c
	}
	cmd.AddCommand(
		bulk("cancel", "Cancel jobs that wait or run", "scheduled, queued, running"),
		bulk("purge", "Delete jobs that have ended, with results and files", "completed, cancelled, failed"),
		&cobra.Command{
			Use: "rerun ID", Short: "Run a job again that has ended", Args: cobra.ExactArgs(1),
			Long: "Run a job again that has ended, as a new job, and print its id. It has the same code, arguments, input and files,\nand no webhook.",
			RunE: func(cmd *cobra.Command, args []string) error {
				return cli.RerunJob(cmd.Context(), process(cmd), args[0])
			},
		},
	)
	return cmd
}
