package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

func schedulesCommand() *cobra.Command {
	change := func(what, short string) *cobra.Command {
		return one(what+" ID", short, func(ctx context.Context, p app.Process, id string) error { return cli.ChangeSchedule(ctx, p, id, what) })
	}
	remove := one("delete ID", "Delete a schedule; its jobs stay", cli.DeleteSchedule)
	remove.Aliases = []string{"rm"}
	return group("schedules", "Make, pause and run schedules of recurring jobs", "Make, pause and run schedules"+ofTheKaa,
		without("ls", "List the schedules", cli.ListSchedules),
		one("create FILE", "Make the schedule that a file describes in JSON, as POST /v1/schedules takes it; - for the standard input",
			func(ctx context.Context, p app.Process, path string) error {
				return cli.CreateSchedule(ctx, p, path, os.Stdin)
			}),
		change("pause", "Leave the runs of a schedule out until it is resumed"),
		change("resume", "Let a paused schedule run again"),
		change("run", "Make one more job of a schedule now, and print its id"),
		remove,
	)
}
