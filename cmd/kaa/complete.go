package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

// words asks a Kaa for the words that a shell may complete.
type words func(ctx context.Context, p app.Process) []cli.Completion

// first completes the first argument of a command, and no further one.
func first(ask words) cobra.CompletionFunc {
	all := each(ask)
	return func(cmd *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return all(cmd, args, begin)
	}
}

// each completes all arguments of a command, or the value of a flag.
func each(ask words) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		p, err := caller(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var found []cobra.Completion
		for _, w := range ask(cmd.Context(), p) {
			found = append(found, cobra.CompletionWithDesc(w.Word, w.Text))
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completing adds a completion of the first argument to commands.
func completing(ask words, commands ...*cobra.Command) {
	for _, c := range commands {
		c.ValidArgsFunction = first(ask)
	}
}

// completeFlag adds a completion of the value of a flag.
func completeFlag(cmd *cobra.Command, flag string, ask words) {
	_ = cmd.RegisterFlagCompletionFunc(flag, each(ask)) // it fails only for a flag that is not there, or twice
}
