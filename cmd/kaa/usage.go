package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

func usageCommand() *cobra.Command {
	var o cli.UsageOptions
	cmd := without("usage", "Show executions, processor time, memory and bytes by day and tenant", func(ctx context.Context, p app.Process) error {
		return cli.ShowUsage(ctx, p, o)
	})
	cmd.Long = "Show what executions and sessions took on each day (UTC) at the Kaa at KAA_URL.\n" +
		"KAA_API_KEY is a key of a tenant with the scope read, for its own figures, or\n" +
		"one with the scope admin for those of all."
	cmd.Flags().StringVar(&o.From, "from", "", "first day, e.g. 2026-01-01 (default: 29 days before the last)")
	cmd.Flags().StringVar(&o.To, "to", "", "last day (default: today)")
	cmd.Flags().StringVar(&o.Tenant, "tenant", "", "only this tenant")
	return cmd
}
