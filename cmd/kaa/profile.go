package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

// profileOf returns the profile that --profile names.
func profileOf(cmd *cobra.Command) string {
	name, _ := cmd.Flags().GetString("profile") // root has it
	return name
}

func loginCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "login [URL]",
		Short: "Keep the address and the key of a Kaa as a profile",
		Long: "Try the address and the key of a Kaa, and keep them as a profile in the file KAA_CONFIG\n" +
			"(default: ~/.config/kaa/config.json), which only its owner may read. All commands use the current profile\n" +
			"if KAA_URL is not set. The key is asked for, or read from standard input; KAA_API_KEY wins.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			address := ""
			if len(args) > 0 {
				address = args[0]
			}
			return cli.Login(cmd.Context(), process(cmd), address, profileOf(cmd), os.Stdin)
		},
	}
}

func logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Remove a profile: that of --profile, or the current one", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cli.Logout(process(cmd), profileOf(cmd)) },
	}
}

func profilesCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "ls", Short: "List the profiles", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cli.ListProfiles(process(cmd)) },
	}
	return group("profiles", "List the profiles of kaa login, and choose one", "List the profiles of kaa login, and choose the current one.", list,
		&cobra.Command{
			Use: "use PROFILE", Short: "Make a profile the current one", Args: exactly(1),
			RunE: func(cmd *cobra.Command, args []string) error { return cli.UseProfile(process(cmd), args[0]) },
		})
}

func topCommand() *cobra.Command {
	o := cli.TopOptions{Every: time.Second}
	cmd := without("top", "Watch queues, runners, running jobs and sessions", func(ctx context.Context, p app.Process) error {
		return cli.Top(ctx, p, o)
	})
	cmd.Long = "Watch the queues, runners, running jobs and sessions" + ofTheKaa + "\n" +
		"Ctrl-C ends it. Without a terminal, with --once and with --json it looks once."
	cmd.Flags().Var((*duration)(&o.Every), "every", "time between two looks")
	cmd.Flags().BoolVar(&o.Once, "once", false, "look once")
	return cmd
}
