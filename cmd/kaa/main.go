// Command kaa tries Kaa and uses it from a shell. `kaa dev` is a whole Kaa in one process, `kaa
// run` executes a file, `kaa repl` is an interpreter in a session, and `kaa exec` runs a command there. `kaa submit` and `kaa map` make jobs,
// `kaa queues`, `kaa runners` and `kaa keys` are for operators, `kaa bench` measures, and `kaa doctor` shows which layers of the sandbox hold here.
package main

import (
	"context"
	"encoding/json"
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
		Args:          noSuch,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !version {
				return cmd.Help()
			}
			return sayVersion(cmd)
		},
	}
	cmd.Flags().BoolVarP(&version, "version", "v", false, "say what this binary was built from")
	cmd.PersistentFlags().Bool("json", false, "print JSON: an object, or a line for each entry of a list")
	cmd.PersistentFlags().String("profile", "", "profile of kaa login (default: KAA_PROFILE, or the current one; none for none)")
	cmd.SetFlagErrorFunc(wrongFlag)
	cmd.AddCommand(
		runCommand(), execCommand(), replCommand(), submitCommand(), mapCommand(), cpCommand(), forwardCommand(), benchCommand(), topCommand(),
		jobsCommand(), batchesCommand(), sessionsCommand(), schedulesCommand(), volumesCommand(), packagesCommand(),
		queuesCommand(), runnersCommand(), keysCommand(), usageCommand(), configCommand(),
		devCommand(), mcpCommand(), loginCommand(), logoutCommand(), profilesCommand(), doctorCommand(), versionCommand(),
	)
	return cmd
}

func versionCommand() *cobra.Command {
	check := false
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say what this binary was built from; with --check, what the Kaa is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !check {
				return sayVersion(cmd)
			}
			p, err := caller(cmd)
			if err != nil {
				return err
			}
			return cli.CheckVersions(cmd.Context(), p)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "show the versions of the API and of its runners, too; the exit code is 1 if they differ")
	return cmd
}

func sayVersion(cmd *cobra.Command) error {
	if out, ok := process(cmd).Stdout.(cli.JSON); ok {
		b := app.ThisBuild()
		return json.NewEncoder(out).Encode(map[string]string{"version": b.Version, "commit": b.Commit, "date": b.Date, "go": b.Go})
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), app.ThisBuild().Describe("kaa"))
	return err
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
	return &cobra.Command{
		Use:   "doctor",
		Short: "Show which layers of the sandbox hold here, and the changes that are needed",
		Long: "Try what a runner with this configuration needs: each layer of the sandbox, what\n" +
			"limits memory, the runtimes, and Redis. A layer that holds was tried for real, with\n" +
			"a worker in it; behind one that does not, nothing is known.\n" +
			"The exit code is 0 if the level that KAA_SANDBOX asks for holds and every runtime\n" +
			"starts in it, else 1. Redis does not count.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, asJSON := process(cmd).Stdout.(cli.JSON)
			code, err := doctor.Run(cmd.Context(), os.Environ(), cmd.OutOrStdout(), cmd.ErrOrStderr(), asJSON)
			if err == nil && code != 0 {
				err = cli.ExitError(code)
			}
			return err
		},
	}
}
