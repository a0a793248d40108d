package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/devredis"
)

const (
	ofTheKaa   = " of the Kaa at KAA_URL, with the key KAA_API_KEY, or of the profile that kaa login keeps."
	ofOperator = " of the Kaa at KAA_URL. KAA_API_KEY is a key with the scope admin."
)

// process returns the process of a command that calls no other Kaa.
func process(cmd *cobra.Command) app.Process {
	p := app.Process{Environ: os.Environ(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(), Redis: devredis.Start}
	if f, ok := p.Stdout.(*os.File); ok {
		p.Stdout = cli.ForPeople(f, p.Environ)
	}
	if asJSON, err := cmd.Flags().GetBool("json"); err == nil && asJSON {
		p.Stdout = cli.JSON{Writer: cmd.OutOrStdout()}
	}
	return p
}

// caller returns the process of a command that calls a Kaa: the variables have its address.
func caller(cmd *cobra.Command) (app.Process, error) {
	p := process(cmd)
	name, err := cmd.Flags().GetString("profile")
	if err != nil {
		return p, err
	}
	p.Environ, err = cli.WithProfile(p.Environ, name)
	return p, err
}

// calling is the body of a command that calls a Kaa.
func calling(do func(ctx context.Context, p app.Process, args []string) error) func(cmd *cobra.Command, args []string) error {
	return func(cmd *cobra.Command, args []string) error {
		p, err := caller(cmd)
		if err != nil {
			return err
		}
		return do(cmd.Context(), p, args)
	}
}

// command makes a command that calls a Kaa.
func command(use, short string, args cobra.PositionalArgs, do func(ctx context.Context, p app.Process, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: calling(do)}
}

// one makes a command with one argument.
func one(use, short string, do func(ctx context.Context, p app.Process, arg string) error) *cobra.Command {
	return command(use, short, exactly(1), func(ctx context.Context, p app.Process, args []string) error { return do(ctx, p, args[0]) })
}

// group makes a command with commands. Alone it does what its command ls does.
func group(use, short, long string, list *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	list.Aliases = append(list.Aliases, "list")
	cmd := &cobra.Command{Use: use, Short: short, Long: long + "\nWithout a command: list them.", Args: noSuch, RunE: list.RunE}
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list)
	cmd.AddCommand(commands...)
	return cmd
}

// noSuch refuses the argument of a command that has commands, and names those that were perhaps meant.
func noSuch(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
	if meant := nearest(args[0], names); meant != "" {
		text += fmt.Sprintf(": did you mean %s %s?", cmd.CommandPath(), meant)
	} else {
		text += "; there are " + strings.Join(names, ", ")
	}
	return errors.New(text)
}

// exactly wants a number of arguments, and shows how the command is written.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return fmt.Errorf("write: %s", cmd.UseLine())
	}
}

// atLeast wants a number of arguments or more.
func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return fmt.Errorf("write: %s", cmd.UseLine())
	}
}

// wrongFlag words the error of a flag, and names the one that was perhaps meant.
func wrongFlag(cmd *cobra.Command, err error) error {
	wrong, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return fmt.Errorf("%w; kaa help%s shows the flags", err, strings.TrimPrefix(cmd.CommandPath(), "kaa"))
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	slices.Sort(names)
	text := fmt.Sprintf("%s has no flag --%s", cmd.CommandPath(), wrong.GetSpecifiedName())
	if wrong.GetSpecifiedShortnames() != "" {
		text = fmt.Sprintf("%s has no flag -%s", cmd.CommandPath(), wrong.GetSpecifiedName())
	}
	if meant := nearest(wrong.GetSpecifiedName(), names); meant != "" {
		return fmt.Errorf("%s: did you mean --%s?", text, meant)
	}
	return fmt.Errorf("%s; there are --%s", text, strings.Join(slices.Compact(names), ", --"))
}

// nearest returns the name that differs least from a word, or begins with it; empty if all differ much.
func nearest(word string, names []string) string {
	best, least := "", max(2, len(word)/2)
	for _, name := range names {
		d := distance(word, name)
		if len(word) > 1 && strings.HasPrefix(name, word) {
			d = 1
		}
		if d < least || d == least && best == "" && d <= 2 {
			best, least = name, d
		}
	}
	return best
}

// distance is the number of letters that have to change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
