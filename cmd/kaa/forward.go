package main

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/cli"
)

func forwardCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forward SESSION [LOCAL:]PORT…",
		Short: "Pass connections to ports of this machine on to ports of a session",
		Long: "Listen at ports of this machine's loopback, and pass connections on to ports of a session" + ofTheKaa + "\n" +
			"Any protocol over TCP passes. LOCAL is the port of this machine, the same as PORT without it; 0 is any that is free.\n" +
			"Ctrl-C ends. The session stays.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := caller(cmd)
			if err != nil {
				return err
			}
			return cli.Forward(cmd.Context(), p, cli.ForwardOptions{Session: args[0], Ports: args[1:], Listening: func(port int, at net.Addr) {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s leads to port %d of %s\n", at, port, args[0])
			}})
		},
	}
	completing(cli.CompleteSessions, cmd)
	return cmd
}
