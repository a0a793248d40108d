package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

// without makes a command without arguments.
func without(use, short string, do func(ctx context.Context, p app.Process) error) *cobra.Command {
	return command(use, short, cobra.NoArgs, func(ctx context.Context, p app.Process, _ []string) error { return do(ctx, p) })
}

func queuesCommand() *cobra.Command {
	change := func(what, short string) *cobra.Command {
		return one(what+" NAME", short, func(ctx context.Context, p app.Process, name string) error {
			return cli.ChangeQueue(ctx, p, name, what)
		})
	}
	return group("queues", "List, pause and resume queues", "List, pause and resume the queues"+ofOperator,
		without("ls", "List the queues", cli.ListQueues),
		change("pause", "Let no further job of a queue begin; those that run end as usual"),
		change("resume", "Let the jobs of a paused queue begin again"),
	)
}

func configCommand() *cobra.Command {
	all := false
	cmd := without("config", "Show the configuration of a Kaa, without secrets", func(ctx context.Context, p app.Process) error {
		return cli.ShowConfig(ctx, p, all)
	})
	cmd.Long = "Show the settings that differ from their default, without secrets," + ofOperator
	cmd.Flags().BoolVar(&all, "all", false, "show all settings")
	return cmd
}

func runnersCommand() *cobra.Command {
	change := func(what, short string) *cobra.Command {
		return one(what+" ID", short, func(ctx context.Context, p app.Process, id string) error { return cli.ChangeRunner(ctx, p, id, what) })
	}
	return group("runners", "List, drain and resume runners", "List, drain and resume the runners"+ofOperator,
		without("ls", "List the runners", cli.ListRunners),
		change("drain", "Let a runner take nothing new; what it executes may end, and its sessions end"),
		change("resume", "Let a drained runner take jobs again"),
	)
}
