package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/cli"
)

// defaultTimeout words the default of a time limit.
var defaultTimeout = "(default: the server's, " + time.Minute.String() + ")" //nolint:gochecknoglobals // a constant

// describeProgram adds the flags of a program.
func describeProgram(cmd *cobra.Command, o *cli.RunOptions) {
	cmd.Flags().SetInterspersed(false) // the words after the file are the program's
	cmd.Flags().Var((*duration)(&o.Timeout), "timeout", "how long the program may run, e.g. 90s, or 90 "+defaultTimeout)
	cmd.Flags().StringArrayVarP(&o.Envs, "env", "e", nil, "NAME=VALUE for the program's environment; NAME alone passes this shell's; repeatable")
	cmd.Flags().StringArrayVarP(&o.Files, "file", "f", nil, "file to send along, such as a module or data: PATH, or NAME=PATH for another name; repeatable")
	cmd.Flags().StringVarP(&o.Out, "out", "o", "", "directory for the files and figures that the program makes")
	cmd.Flags().StringVar(&o.Runtime, "runtime", "", "Python that executes it, one of GET /v1/runtimes")
	describePackages(cmd, &o.Packages, &o.Preload)
	cmd.Flags().StringVarP(&o.Session, "session", "s", "", "id or name of the session in which it is executed")
	completeFlag(cmd, "session", cli.CompleteSessions)
	describeBounds(cmd, &o.Limits)
}

// describeBounds adds the flags of the limits.
func describeBounds(cmd *cobra.Command, limits *[]string) {
	cmd.Flags().StringArrayVar(limits, "limit", nil, "NAME=NUMBER, a limit as the API names it, e.g. processes=20; repeatable")
	for _, short := range []struct{ flag, name, usage string }{
		{"memory", "memoryBytes", "memory that it may use, e.g. 512M"},
		{"cpus", "cpus", "processors that it may keep busy, e.g. 2"},
		{"disk", "diskBytes", "size of the files that it may have, e.g. 1G"},
	} {
		cmd.Flags().Func(short.flag, short.usage, func(text string) error {
			*limits = append(*limits, short.name+"="+text)
			return nil
		})
	}
}

// wantsFile refuses a command without a program.
func wantsFile(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("name a file, or - for standard input: " + cmd.CommandPath() + " main.py")
	}
	return nil
}

func runCommand() *cobra.Command {
	var o cli.RunOptions
	cmd := &cobra.Command{
		Use:   "run FILE|- [ARGUMENT…]",
		Short: "Execute a Python file and exit as it did",
		Long: "Execute a Python file, or the program on standard input (-), in the Kaa at KAA_URL\n" +
			"(with the key KAA_API_KEY) or of the profile that kaa login keeps, or else in an embedded one.\n" +
			"Arguments of the program follow FILE; flags of kaa run come before it.\n" +
			"Standard input is read to its end and then passed to the program, unless it is a\n" +
			"terminal or was the program.\n" +
			"Files that the program makes, and figures, are kept in the directory of --out only. Terminals\n" +
			"that show pictures (kitty, iTerm, WezTerm) show figures, too.\n" +
			"Output is printed as it comes. Ctrl-C interrupts the program and prints what it writes\n" +
			"until its end; a second one does not wait for that. With --json only the result is printed.\n" +
			"The exit code is the program's: 1 for an uncaught exception, 124 for a timeout,\n" +
			"125 when Kaa could not execute it, 130 for Ctrl-C, 143 for SIGTERM.",
		Args: wantsFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("timeout") && o.Timeout <= 0 {
				return errors.New("--timeout must be above 0, e.g. 90s")
			}
			p, err := caller(cmd)
			if err != nil {
				return err
			}
			o.File, o.Args, o.Stdin, o.Signals = args[0], args[1:], os.Stdin, twoSignals(func() {})
			return cli.RunFile(context.WithoutCancel(cmd.Context()), p, o)
		},
	}
	describeProgram(cmd, &o)
	cmd.Flags().StringVar(&o.Cases, "cases", "", "JSON file with cases: the program runs once for each, and the verdicts are printed instead of its output")
	return cmd
}

func submitCommand() *cobra.Command {
	var o cli.SubmitOptions
	delay := time.Duration(0)
	cmd := &cobra.Command{
		Use:   "submit FILE|- [ARGUMENT…]",
		Short: "Submit a Python file as a job, and print its id",
		Long: "Submit a Python file, or the program on standard input (-), as a job" + ofTheKaa + "\n" +
			"With -F its output is printed until its end, and the exit code is the program's; Ctrl-C cancels it.\n" +
			"kaa jobs logs -f ID does the same later, and kaa jobs get ID shows the job.",
		Args: wantsFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := caller(cmd)
			if err != nil {
				return err
			}
			o.File, o.Args, o.Stdin, o.Delay = args[0], args[1:], os.Stdin, delay.Seconds()
			ctx := cmd.Context()
			if o.Follow {
				ctx, o.Signals = context.WithoutCancel(ctx), twoSignals(func() {})
			}
			return cli.Submit(ctx, p, o)
		},
	}
	describeProgram(cmd, &o.RunOptions)
	cmd.Flags().StringVarP(&o.Queue, "queue", "q", "", "queue of the job")
	cmd.Flags().Var((*duration)(&delay), "delay", "time until it is due, e.g. 10m")
	cmd.Flags().IntVar(&o.Attempts, "attempts", 0, "how often it may be started, if runners are lost (default: 1)")
	cmd.Flags().StringArrayVar(&o.Metadata, "metadata", nil, "NAME=VALUE that is kept with the job; repeatable")
	cmd.Flags().StringVar(&o.Key, "idempotency-key", "", "the same key and program make one job")
	cmd.Flags().BoolVarP(&o.Follow, "follow", "F", false, "print the output until the end of the job, and exit as the program does")
	return cmd
}

func mapCommand() *cobra.Command {
	var o cli.MapOptions
	cmd := &cobra.Command{
		Use:   "map FILE…",
		Short: "Execute many programs at once, and print a line of JSON with the result of each",
		Long: "Execute many programs as a batch" + ofTheKaa + "\n" +
			"A FILE is a program, or has a job in JSON in each of its lines if its name ends in .ndjson or .jsonl; - is such lines on\n" +
			"standard input. Each line of the output has program (the file, or its line), status and result.\n" +
			"A bar on the terminal shows the progress. Ctrl-C cancels the batch and prints the results that there are.\n" +
			"The exit code is 0 if all programs ended with ok, else 1.",
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := caller(cmd)
			if err != nil {
				return err
			}
			p.Stdout = cmd.OutOrStdout()
			o.Programs, o.Stdin, o.Signals = args, os.Stdin, twoSignals(func() {})
			return cli.Map(context.WithoutCancel(cmd.Context()), p, o)
		},
	}
	cmd.Flags().Var((*duration)(&o.Timeout), "timeout", "how long each program may run, e.g. 90s, or 90 "+defaultTimeout)
	cmd.Flags().StringVar(&o.Runtime, "runtime", "", "Python that executes them")
	describePackages(cmd, &o.Packages, &o.Preload)
	cmd.Flags().BoolVar(&o.Completion, "as-completed", false, "print results as they come, and not in the order of the programs")
	cmd.Flags().StringVarP(&o.Out, "out", "o", "", "file for the results (default: standard output)")
	cmd.Flags().StringVar(&o.Key, "idempotency-key", "", "the same key and programs make one batch, and continue one that broke off")
	describeBounds(cmd, &o.Limits)
	return cmd
}
