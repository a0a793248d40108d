package main

import (
	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/cli"
)

func volumesCommand() *cobra.Command {
	remove := one("delete NAME", "Delete a volume with its files", cli.DeleteVolume)
	remove.Aliases = []string{"rm"}
	completing(cli.CompleteVolumes, remove)
	return group("volumes", "List and delete the saved files of sessions",
		"List and delete the volumes, the files of sessions that name a volume (persist),"+ofTheKaa,
		without("ls", "List the volumes", cli.ListVolumes), remove)
}
