package main

import (
	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/cli"
)

const ofOperator = " of the Kaa at KAA_URL. KAA_API_KEY is a key with the scope admin."

func queuesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queues",
		Short: "List, pause and resume queues",
		Long:  "List, pause and resume the queues" + ofOperator,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cli.ListQueues(cmd.Context(), process(cmd)) },
	}
	change := func(what, short string) *cobra.Command {
		return &cobra.Command{Use: what + " NAME", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return cli.ChangeQueue(cmd.Context(), process(cmd), args[0], what)
		}}
	}
	cmd.AddCommand(
		change("pause", "Let no further job of a queue begin; those that run end as usual"),
		change("resume", "Let the jobs of a paused queue begin again"),
	)
	return cmd
}

func configCommand() *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the configuration of a Kaa, without secrets",
		Long:  "Show the settings that differ from their default, without secrets," + ofOperator,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cli.ShowConfig(cmd.Context(), process(cmd), all) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "show all settings")
	return cmd
}

func runnersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runners",
		Short: "List, drain and resume runners",
		Long:  "List, drain and resume the runners" + ofOperator,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cli.ListRunners(cmd.Context(), process(cmd)) },
	}
	change := func(what, short string) *cobra.Command {
		return &cobra.Command{Use: what + " ID", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return cli.ChangeRunner(cmd.Context(), process(cmd), args[0], what)
		}}
	}
	cmd.AddCommand(
		change("drain", "Let a runner take nothing new; what it executes may end, and its sessions end"),
		change("resume", "Let a drained runner take jobs again"),
	)
	return cmd
}
