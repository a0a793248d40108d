package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/bench"
	"github.com/kaa-run/kaa/internal/cli"
)

func benchCommand() *cobra.Command {
	o := bench.Options{Warmup: 2 * time.Second, Duration: 10 * time.Second}
	compare, file := "", ""
	cmd := without("bench", "Load a Kaa, and measure latency and throughput", func(ctx context.Context, p app.Process) error {
		if file != "" {
			code, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			o.Code = string(code)
		}
		if o.Duration <= 0 || o.Warmup < 0 {
			return errors.New("--duration must be above 0, and --warm-up not below")
		}
		return cli.Bench(ctx, p, o, compare)
	})
	cmd.Long = "Load the Kaa at KAA_URL, with the key KAA_API_KEY, or that of the profile that kaa login keeps, and measure it. docs/operations.md explains the figures.\n" +
		"Without --rate the loop is closed: each worker sends its next execution when the last has ended. With --rate it is open:\n" +
		"executions are due at that rate, and latencies count from then.\n" +
		"The same code is also executed by a bare interpreter, before and after the load, for the ratio."
	cmd.Flags().StringVar(&o.Mode, "mode", "sync", "kind of load: sync, async (jobs), session, mixed")
	cmd.Flags().StringVarP(&o.Code, "code", "c", "print(42)", "Python that is executed")
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with the Python that is executed")
	cmd.Flags().IntVarP(&o.Workers, "workers", "w", 1, "executions under way at once; with --rate, at most")
	cmd.Flags().Float64Var(&o.Rate, "rate", 0, "executions a second of an open loop, for each Kaa")
	cmd.Flags().Var((*duration)(&o.Duration), "duration", "time that is measured")
	cmd.Flags().Var((*duration)(&o.Warmup), "warm-up", "time before that")
	cmd.Flags().StringVar(&compare, "compare", "", "address of a second Kaa: executions alternate between both")
	cmd.Flags().StringVar(&o.Python, "python", "python3", "bare interpreter for the ratio; empty for none")
	cmd.Flags().IntVar(&o.Spawns, "spawns", 20, "how often the bare interpreter is started")
	cmd.Flags().IntSliceVar(&o.PIDs, "pid", nil, "further process whose processor time counts, such as a runner; repeatable")
	cmd.Flags().StringVar(&o.Redis, "redis", os.Getenv("KAA_REDIS_URL"), "address of the Redis whose commands count (default: KAA_REDIS_URL)")
	return cmd
}
