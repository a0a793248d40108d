package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

func jobsCommand() *cobra.Command {
	var o cli.JobsOptions
	list := command("ls", "List the newest jobs", cobra.NoArgs, func(ctx context.Context, p app.Process, _ []string) error {
		if o.Limit < 1 {
			return errors.New("--limit must be above 0")
		}
		return cli.ListJobs(ctx, p, o)
	})
	list.Flags().StringVar(&o.State, "state", "", "only jobs in this state: scheduled, queued, running, completed, cancelled, failed")
	list.Flags().StringVar(&o.Queue, "queue", "", "only jobs of this queue")
	list.Flags().StringSliceVar(&o.Status, "status", nil, "only jobs whose code has ended so: ok, error, interrupted, exit")
	list.Flags().StringVar(&o.Text, "text", "", "only jobs with this text in their metadata")
	list.Flags().StringArrayVar(&o.Metadata, "metadata", nil, "only jobs whose metadata has this, NAME=VALUE; may be repeated")
	list.Flags().Var((*duration)(&o.Since), "since", "only jobs that came not longer ago, e.g. 1h")
	list.Flags().IntVarP(&o.Limit, "limit", "n", 20, "how many jobs are listed at most")
	follow := false
	logs := one("logs ID", "Print the output of a job", func(ctx context.Context, p app.Process, id string) error {
		return cli.JobLogs(ctx, p, id, follow)
	})
	logs.Long = "Print the output of a job that has ended. With -f print what comes until its end, and exit as the program did."
	logs.Flags().BoolVarP(&follow, "follow", "f", false, "print what comes until the end of the job, and exit as the program does")
	rerun := one("rerun ID", "Run a job again that has ended", cli.RerunJob)
	rerun.Aliases = []string{"retry"}
	rerun.Long = "Run a job again that has ended, as a new job, and print its id. It has the same code, arguments, input and files,\nand no webhook."
	get, cancel := one("get ID", "Show a job", cli.ShowJob), bulk("cancel", "Cancel jobs that wait or run", "scheduled, queued, running")
	completing(cli.CompleteJobs, get, logs, rerun)
	cancel.ValidArgsFunction = each(cli.CompleteJobs)
	return group("jobs", "List, follow, cancel and delete jobs, and run one again",
		"Look at jobs, cancel or delete them, or run one again: those of the tenant of the key, or of all tenants if it has the scope admin.",
		list,
		get, logs, cancel,
		bulk("purge", "Delete jobs that have ended, with results and files", "completed, cancelled, failed"),
		rerun,
	)
}

// bulk makes a command that changes the jobs which its flags select; cancel also takes ids.
func bulk(what, short, states string) *cobra.Command {
	var o cli.BulkOptions
	c := &cobra.Command{
		Use: what, Short: short, Args: cobra.NoArgs,
		Long: short + ". All that is named has to fit.\nTheir number is shown, and a question asked, unless --yes is given.",
	}
	if what == "cancel" {
		c.Use, c.Args = "cancel [ID…]", cobra.ArbitraryArgs
		c.Long += "\nWith ids, these jobs are cancelled without a question."
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := caller(cmd)
		switch {
		case err != nil:
			return err
		case cmd.Flags().Changed("older-than") && o.OlderThan <= 0:
			return errors.New("--older-than must be above 0, e.g. 24h")
		case len(args) > 0:
			return cli.CancelEach(cmd.Context(), p, args)
		}
		o.Stdin = os.Stdin
		return cli.ChangeJobs(cmd.Context(), p, what, o)
	}
	c.Flags().StringVar(&o.Queue, "queue", "", "only jobs of this queue")
	c.Flags().StringSliceVar(&o.States, "state", nil, "only jobs in these states: "+states)
	c.Flags().StringVar(&o.Runtime, "runtime", "", "only jobs that asked for this runtime")
	c.Flags().Var((*duration)(&o.OlderThan), "older-than", "only jobs that came longer ago, e.g. 24h")
	c.Flags().StringArrayVar(&o.Metadata, "metadata", nil, "NAME=VALUE that the metadata must have; repeatable")
	c.Flags().BoolVar(&o.Yes, "yes", false, "do not ask")
	return c
}
