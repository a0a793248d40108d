package main

import (
	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/cli"
)

func volumesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volumes",
		Short: "List and delete the saved files of sessions",
		Long:  "List and delete the volumes of the Kaa at KAA_URL, with the key KAA_API_KEY: the files of sessions that name a volume (persist). Without a command: list them.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cli.ListVolumes(cmd.Context(), process(cmd)) },
	}
	cmd.AddCommand(&cobra.Command{
		Use: "delete NAME", Short: "Delete a volume with its files", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.DeleteVolume(cmd.Context(), process(cmd), args[0])
		},
	})
	return cmd
}
