package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

func execCommand() *cobra.Command {
	var o cli.ExecOptions
	cmd := &cobra.Command{
		Use:   "exec [SESSION] -- PROGRAM [ARGUMENT…]",
		Short: "Run a command in a session, or in a fresh sandbox, and exit as it did",
		Long: "Run a program in a session" + ofTheKaa + " It runs beside the\n" +
			"code of the session; without SESSION in a fresh sandbox. For a line of the shell: -- sh -c LINE.\n" +
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
			p, err := caller(cmd)
			if err != nil {
				return err
			}
			dash := cmd.ArgsLenAtDash()
			if dash == 1 {
				o.Session = args[0]
			}
			resized := make(chan os.Signal, 1)
			signal.Notify(resized, syscall.SIGWINCH)
			o.Program, o.Stdin, o.Signals, o.Resized = args[dash:], os.Stdin, twoSignals(cli.KeepTerminal(os.Stdin)), resized
			p.Stdout = cmd.OutOrStdout()
			return cli.Exec(context.WithoutCancel(cmd.Context()), p, o)
		},
	}
	cmd.Flags().Var((*duration)(&o.Timeout), "timeout", "how long the program may run, e.g. 90s, or 90 "+defaultTimeout)
	cmd.Flags().StringArrayVarP(&o.Envs, "env", "e", nil, "NAME=VALUE for the program's environment; NAME alone passes this shell's; repeatable")
	cmd.Flags().StringVarP(&o.Cwd, "cwd", "w", "", "directory in which it begins (default: the working directory)")
	cmd.Flags().BoolVarP(&o.Terminal, "tty", "t", false, "give the program a terminal, of the size of this one")
	cmd.Flags().BoolVarP(&o.Input, "interactive", "i", false, "pass standard input on as it comes, as bytes")
	completing(cli.CompleteSessions, cmd)
	return cmd
}

// describeSession adds the flags of a session that is opened.
func describeSession(cmd *cobra.Command, o *cli.SessionOptions, idle *time.Duration) {
	cmd.Flags().StringVar(&o.Name, "name", "", "name by which it is found again; a live session of that name is used")
	cmd.Flags().StringVar(&o.Runtime, "runtime", "", "Python of the session, one of GET /v1/runtimes")
	describePackages(cmd, &o.Packages, &o.Preload)
	cmd.Flags().StringVar(&o.Persist, "persist", "", "volume that keeps its files")
	cmd.Flags().StringArrayVarP(&o.Envs, "env", "e", nil, "NAME=VALUE for its environment; NAME alone passes this shell's; repeatable")
	cmd.Flags().Var((*duration)(idle), "idle-timeout", "time without use after which it ends, e.g. 1h")
	describeBounds(cmd, &o.Limits)
}

func replCommand() *cobra.Command {
	var o cli.ReplOptions
	idle := time.Duration(0)
	cmd := &cobra.Command{
		Use:   "repl",
		Short: "Type Python into an interpreter in a session",
		Long: "Type Python into the interpreter of a session" + ofTheKaa + "\n" +
			"Without either, in an embedded one. Arrows go through the lines before, also those of former interpreters (KAA_HISTORY), Tab completes names, an empty line ends a block.\n" +
			"Ctrl-C interrupts what runs, and Ctrl-D ends. The session ends with it, unless it was named, or --keep is given.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := caller(cmd)
			if err != nil {
				return err
			}
			// Ctrl-C interrupts what runs, as often as it is pressed. The other signals end the interpreter.
			ctx, cancel := context.WithCancel(context.WithoutCancel(cmd.Context()))
			defer cancel()
			interrupts, ends := make(chan os.Signal, 1), make(chan os.Signal, 1)
			signal.Notify(interrupts, os.Interrupt)
			signal.Notify(ends, syscall.SIGTERM)
			app.NotifyHangup(ends)
			go func() {
				<-ends
				cancel()
			}()
			o.Stdin, o.Signals, o.Open.Idle = os.Stdin, interrupts, idle.Seconds()
			return cli.Repl(ctx, p, o)
		},
	}
	describeSession(cmd, &o.Open, &idle)
	cmd.Flags().StringVarP(&o.Session, "session", "s", "", "id or name of a live session")
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "leave the session, and print its id at the end")
	completeFlag(cmd, "session", cli.CompleteSessions)
	return cmd
}

func cpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cp FROM TO",
		Short: "Copy a file or directory to a session, or from it",
		Long: "Copy a file or a directory from this machine to a session, or back" + ofTheKaa + "\n" +
			"SESSION:PATH is a path of a session, by the id or the name of that; - is standard input or output.\n" +
			"  kaa cp data.csv SESSION:data.csv\n  kaa cp SESSION:/tmp/out.png .\n  kaa cp src SESSION:src",
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := caller(cmd)
			if err != nil {
				return err
			}
			return cli.Copy(cmd.Context(), p, args[0], args[1], os.Stdin)
		},
	}
}

func sessionsCommand() *cobra.Command {
	var o cli.SessionOptions
	idle := time.Duration(0)
	open := without("open", "Open a session and print its id", func(ctx context.Context, p app.Process) error {
		o.Idle = idle.Seconds()
		return cli.OpenSession(ctx, p, o)
	})
	open.Aliases = []string{"create", "new"}
	describeSession(open, &o, &idle)
	change := func(what, short string) *cobra.Command {
		c := one(what+" SESSION", short, func(ctx context.Context, p app.Process, ref string) error {
			return cli.ChangeSession(ctx, p, ref, what)
		})
		completing(cli.CompleteSessions, c)
		return c
	}
	count := 1
	fork := one("fork SESSION", "Fork a live session, and print the ids of the forks", func(ctx context.Context, p app.Process, ref string) error {
		if count < 1 {
			return fmt.Errorf("--count %d: it has to be above 0", count)
		}
		return cli.ForkSession(ctx, p, ref, count)
	})
	fork.Flags().IntVarP(&count, "count", "n", 1, "how many forks")
	checkpoint := ""
	rollback := one("rollback SESSION", "Return a session to a checkpoint", func(ctx context.Context, p app.Process, ref string) error {
		return cli.RollBack(ctx, p, ref, checkpoint)
	})
	rollback.Flags().StringVar(&checkpoint, "checkpoint", "", "id of the checkpoint (default: the newest)")
	completing(cli.CompleteSessions, fork, rollback)
	remove := change("rm", "End a session")
	remove.Aliases = []string{"delete", "close"}
	return group("sessions", "Open, list, fork, pause and end sessions", "Open, list, fork, pause and end sessions"+ofTheKaa+"\nSESSION is the id or the name of one.",
		without("ls", "List the live sessions", cli.ListSessions),
		open, change("get", "Show a session"), remove, fork,
		change("pause", "Stop all processes of a session"), change("resume", "Let a paused session go on"),
		change("interrupt", "Interrupt what a session executes"), change("restart", "Give a session a fresh interpreter; its files stay"),
		change("checkpoint", "Keep the present state of a session, and print the id of that"), rollback,
	)
}
