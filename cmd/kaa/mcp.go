package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/cli"
)

func mcpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "mcp",
		Short: "Offer Kaa to a model over standard input and output (MCP)",
		Long: "Speak the Model Context Protocol over standard input and output, for clients that start a\n" +
			"program: messages go to the Kaa at KAA_URL (with the key KAA_API_KEY), or to an embedded\n" +
			"one when KAA_URL is not set. Sessions of an embedded one end with this program.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := caller(cmd)
			if err != nil {
				return err
			}
			p.Stdout = cmd.OutOrStdout()
			return cli.MCP(cmd.Context(), p, os.Stdin)
		},
	}
}
