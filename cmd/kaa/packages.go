package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

// describePackages adds the flags of the packages of a program or session.
func describePackages(cmd *cobra.Command, packages, preload *[]string) {
	cmd.Flags().StringArrayVar(packages, "package", nil, "package of the index that the code imports, e.g. requests or pandas==2.2.3; repeatable")
	describePreload(cmd, preload)
}

func describePreload(cmd *cobra.Command, modules *[]string) {
	cmd.Flags().StringArrayVar(modules, "preload", nil, "module of the packages that an interpreter imports ahead, e.g. pandas; repeatable")
}

func packagesCommand() *cobra.Command {
	var runtime string
	var preload []string
	prepare := command("prepare PACKAGE…", "Have packages installed ahead, wait for that, and print the id of their environment", atLeast(1),
		func(ctx context.Context, p app.Process, packages []string) error {
			return cli.PreparePackages(ctx, p, packages, preload, runtime)
		})
	prepare.Flags().StringVar(&runtime, "runtime", "", "Python for which they are installed, one of GET /v1/runtimes")
	describePreload(prepare, &preload)
	var log bool
	look := one("show ID", "Print the lock file of an environment", func(ctx context.Context, p app.Process, id string) error {
		return cli.ShowPackages(ctx, p, id, log)
	})
	look.Flags().BoolVar(&log, "log", false, "print the output of the installer, and not the lock file")
	return group("packages", "Have packages installed ahead, and look at them", "Have packages installed ahead, and look at them,"+ofTheKaa,
		without("ls", "List the packages that were prepared", cli.ListPackages), prepare, look)
}
