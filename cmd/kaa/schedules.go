package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

func schedulesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedules",
		Short: "Make, pause and run schedules of recurring jobs",
		Long:  "Make, pause and run schedules of the Kaa at KAA_URL, with the key KAA_API_KEY. Without a command: list them.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cli.ListSchedules(cmd.Context(), process(cmd)) },
	}
	one := func(use, short string, do func(ctx context.Context, p app.Process, id string) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return do(cmd.Context(), process(cmd), args[0])
		}}
	}
	change := func(what, short string) *cobra.Command {
		return one(what+" ID", short, func(ctx context.Context, p app.Process, id string) error {
			return cli.ChangeSchedule(ctx, p, id, what)
		})
	}
	cmd.AddCommand(
		one("create FILE", "Make the schedule that a file describes in JSON, as POST /v1/schedules takes it; - for the standard input",
			func(ctx context.Context, p app.Process, path string) error {
				return cli.CreateSchedule(ctx, p, path, os.Stdin)
			}),
		change("pause", "Leave the runs of a schedule out until it is resumed"),
		change("resume", "Let a paused schedule run again"),
		change("run", "Make one more job of a schedule now, and print its id"),
		one("delete ID", "Delete a schedule; its jobs stay", cli.DeleteSchedule),
	)
	return cmd
}
