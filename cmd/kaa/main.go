// Command kaa tries Kaa and uses it from a shell. `kaa dev` is a whole Kaa in one process, `kaa
// run` executes a file, `kaa exec` a command in a session, `kaa jobs`, `kaa queues`, `kaa runners` and `kaa keys` are for operators, `kaa usage` shows the use of
// tenants, `kaa doctor` shows which layers of the sandbox hold here.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/app/doctor"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/devredis"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hangup := make(chan os.Signal, 1)
	app.NotifyHangup(hangup)
	go func() {
		<-hangup // a closing terminal often sends it twice: only the first counts
		cancel()
	}()
	// The reader of the output may close it. That is an error of a write, and no reason to exit
	// without cleaning up. An ignored SIGPIPE would be inherited by all child processes.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	err := root().ExecuteContext(ctx)
	stop()
	var exit cli.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		os.Exit(int(exit))
	default:
		_, _ = fmt.Fprintln(os.Stderr, "kaa:", err)
		os.Exit(cli.ExitTrouble)
	}
}

func root() *cobra.Command {
	// cobra's own flag needs a template for this text; renderDocs of package api explains the
	// effect of a template on a binary.
	version := false
	cmd := &cobra.Command{
		Use:           "kaa",
		Short:         "Run Python you don't trust",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !version {
				return cmd.Help()
			}
			sayVersion(cmd)
			return nil
		},
	}
	cmd.Flags().BoolVarP(&version, "version", "v", false, "say what this binary was built from")
	cmd.AddCommand(devCommand(), runCommand(), execCommand(), mcpCommand(), jobsCommand(), batchesCommand(), schedulesCommand(), volumesCommand(), queuesCommand(), runnersCommand(), configCommand(), keysCommand(), usageCommand(), doctorCommand(), versionCommand())
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say what this binary was built from",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { sayVersion(cmd) },
	}
}

func sayVersion(cmd *cobra.Command) {
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), app.ThisBuild().Describe("kaa"))
}

func process(cmd *cobra.Command) app.Process {
	return app.Process{Environ: os.Environ(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(), Redis: devredis.Start}
}

func devCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dev",
		Short: "Run API, runner and an embedded Redis in one process",
		Long: "Run API, runner and an embedded Redis in one process, on 127.0.0.1:8080 (KAA_ADDR).\n" +
			"With KAA_REDIS_URL set it uses that Redis instead. All other variables work too.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			app.ShareProcessors()
			return app.RunDev(cmd.Context(), process(cmd))
		},
	}
}

func runCommand() *cobra.Command {
	var o cli.RunOptions
	cmd := &cobra.Command{
		Use:   "run FILE|- [ARGUMENT…]",
		Short: "Execute a Python file and exit as it did",
		Long: "Execute a Python file, or the program on standard input (-), in the Kaa at KAA_URL\n" +
			"(with the key KAA_API_KEY), or in an embedded one when KAA_URL is not set.\n" +
			"Arguments of the program follow FILE; flags of kaa run come before it.\n" +
			"Standard input is read to its end and then passed to the program, unless it is a\n" +
			"terminal or was the program.\n" +
			"Files that the program makes, and figures, are kept in the directory of --out only.\n" +
			"Output is printed as it comes. Ctrl-C interrupts the program and prints what it writes\n" +
			"until its end; a second one does not wait for that.\n" +
			"The exit code is the program's: 1 for an uncaught exception, 124 for a timeout,\n" +
			"125 when Kaa could not execute it, 130 for Ctrl-C, 143 for SIGTERM.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("name a file, or - for standard input: kaa run main.py")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("timeout") && o.Timeout <= 0 {
				return errors.New("--timeout must be above 0, e.g. 90s")
			}
			o.File, o.Args, o.Stdin, o.Signals = args[0], args[1:], os.Stdin, twoSignals()
			return cli.RunFile(context.WithoutCancel(cmd.Context()), process(cmd), o)
		},
	}
	cmd.Flags().SetInterspersed(false) // the words after the file are the program's
	cmd.Flags().Var((*duration)(&o.Timeout), "timeout", "how long the program may run, e.g. 90s, or 90 (default: the server's, "+time.Minute.String()+")")
	cmd.Flags().StringVar(&o.Cases, "cases", "", "JSON file with cases: the program runs once for each, and the verdicts are printed instead of its output")
	cmd.Flags().StringArrayVarP(&o.Envs, "env", "e", nil, "NAME=VALUE for the program's environment; NAME alone passes this shell's; repeatable")
	cmd.Flags().StringArrayVarP(&o.Files, "file", "f", nil, "file to send along, such as a module or data: PATH, or NAME=PATH for another name; repeatable")
	cmd.Flags().StringVarP(&o.Out, "out", "o", "", "directory for the files and figures that the program makes")
	return cmd
}

func execCommand() *cobra.Command {
	var o cli.ExecOptions
	cmd := &cobra.Command{
		Use:   "exec [SESSION] -- PROGRAM [ARGUMENT…]",
		Short: "Run a command in a session, or in a fresh sandbox, and exit as it did",
		Long: "Run a program in a session of the Kaa at KAA_URL (with the key KAA_API_KEY), beside its\n" +
			"code; without SESSION in a fresh sandbox. For a line of the shell: -- sh -c LINE.\n" +
			"Standard input is read to its end and then passed to the program, unless it is a\n" +
			"terminal. With -i it is passed as it comes, with -t the program has a terminal as well:\n" +
			"kaa exec -t SESSION -- bash. Then no SESSION means a session that ends with the program.\n" +
			"Output is printed as it comes. Ctrl-C interrupts the program; with -t the program gets it as a key.\n" +
			"The exit code is the program's: 128 + n for a signal, 124 for a timeout,\n" +
			"125 when Kaa could not run it, 127 if there is no such program.",
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash < 0 || dash > 1 || dash == len(args) {
				return errors.New("write -- before the program: kaa exec SESSION -- ls -l")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("timeout") && o.Timeout <= 0 {
				return errors.New("--timeout must be above 0, e.g. 90s")
			}
			dash := cmd.ArgsLenAtDash()
			if dash == 1 {
				o.Session = args[0]
			}
			resized := make(chan os.Signal, 1)
			signal.Notify(resized, syscall.SIGWINCH)
			o.Program, o.Stdin, o.Signals, o.Resized = args[dash:], os.Stdin, twoSignals(), resized
			return cli.Exec(context.WithoutCancel(cmd.Context()), process(cmd), o)
		},
	}
	cmd.Flags().Var((*duration)(&o.Timeout), "timeout", "how long the program may run, e.g. 90s, or 90 (default: the server's, "+time.Minute.String()+")")
	cmd.Flags().StringArrayVarP(&o.Envs, "env", "e", nil, "NAME=VALUE for the program's environment; NAME alone passes this shell's; repeatable")
	cmd.Flags().StringVarP(&o.Cwd, "cwd", "w", "", "directory in which it begins (default: the working directory)")
	cmd.Flags().BoolVarP(&o.Terminal, "tty", "t", false, "give the program a terminal, of the size of this one")
	cmd.Flags().BoolVarP(&o.Input, "interactive", "i", false, "pass standard input on as it comes, as bytes")
	return cmd
}

// twoSignals passes on the first two signals that ask for the end. The third ends this process
// at once.
func twoSignals() <-chan os.Signal {
	received, passed := make(chan os.Signal, 2), make(chan os.Signal)
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	app.NotifyHangup(received)
	go func() {
		passed <- <-received
		passed <- <-received
		signal.Stop(received)
	}()
	return passed
}

// duration is a flag that takes seconds without a unit, as the API does.
type duration time.Duration

func (d *duration) Set(s string) error {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		s += "s"
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return errors.New("write seconds, or a duration such as 90s or 5m")
	}
	*d = duration(v)
	return nil
}

func (d *duration) String() string { return time.Duration(*d).String() }
func (d *duration) Type() string   { return "duration" }

func doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show which layers of the sandbox hold here, and the changes that are needed",
		Long: "Try what a runner with this configuration needs: each layer of the sandbox, what\n" +
			"limits memory, the runtimes, and Redis. A layer that holds was tried for real, with\n" +
			"a worker in it; behind one that does not, nothing is known.\n" +
			"The exit code is 0 if the level that KAA_SANDBOX asks for holds and every runtime\n" +
			"starts in it, else 1. Redis does not count.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			code, err := doctor.Run(cmd.Context(), os.Environ(), cmd.OutOrStdout(), cmd.ErrOrStderr(), asJSON)
			if err == nil && code != 0 {
				err = cli.ExitError(code)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
