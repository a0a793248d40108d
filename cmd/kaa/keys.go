package main

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

func keysCommand() *cobra.Command {
	var o cli.KeyOptions
	describe := func(c *cobra.Command) *cobra.Command {
		c.Flags().StringVar(&o.Tenant, "tenant", "", "tenant of the key")
		c.Flags().StringVar(&o.Name, "name", "", "purpose of the key")
		c.Flags().StringSliceVar(&o.Scopes, "scopes", nil, "rights of the key: execute, read, files, sessions, admin (default: all but admin)")
		c.Flags().Var((*duration)(&o.For), "for", "how long the key is valid, e.g. 720h (default: no end)")
		describeLimits(c, &o)
		c.PreRunE = func(c *cobra.Command, _ []string) error {
			if o.Tenant == "" {
				return errors.New("name the tenant: --tenant acme")
			}
			if c.Flags().Changed("for") && o.For <= 0 {
				return errors.New("--for must be above 0, e.g. 720h")
			}
			return nil
		}
		return c
	}
	tenant := ""
	list := without("ls", "List the keys, with the time of their last use", func(ctx context.Context, p app.Process) error { return cli.ListKeys(ctx, p, tenant) })
	list.Flags().StringVar(&tenant, "tenant", "", "only the keys of this tenant")
	revoke := one("revoke ID", "Revoke a key", cli.RevokeKey)
	revoke.Aliases = []string{"rm"}
	return group("keys", "Make, list and revoke API keys", "Make, list and revoke the API keys"+ofOperator,
		list,
		describe(without("create", "Make a key and print it", func(ctx context.Context, p app.Process) error { return cli.CreateKey(ctx, p, o) })),
		describe(&cobra.Command{
			Use: "entry", Short: "Make a key and print it, with its entry for KAA_API_KEYS_FILE; needs no Kaa", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return cli.KeyEntry(process(cmd), o) },
		}),
		revoke,
	)
}

// describeLimits adds the flags of a key's limits. Their bounds are checked where the key is made.
func describeLimits(c *cobra.Command, o *cli.KeyOptions) {
	limits := &o.Limits
	c.Flags().Func("rate", "requests a second with the key", func(text string) error { return number(text, &limits.Rate) })
	for _, n := range []struct {
		name, usage string
		to          **int
	}{
		{"burst", "requests at once with the key (default: --rate, rounded down)", &limits.Burst},
		{"concurrency", "jobs of the tenant that run at once", &limits.Concurrency},
		{"depth", "jobs of the tenant that wait", &limits.Depth},
		{"sessions", "live sessions of the tenant", &limits.Sessions},
	} {
		c.Flags().Func(n.name, n.usage, func(text string) error { return whole(text, n.to) })
	}
	for _, n := range []struct {
		name, usage string
		to          **int64
	}{
		{"session-memory-bytes", "bytes of memory that the live sessions of the tenant may take, by their limits", &limits.SessionMemory},
		{"session-disk-bytes", "the same for disk", &limits.SessionDisk},
	} {
		c.Flags().Func(n.name, n.usage, func(text string) error { return whole(text, n.to) })
	}
	c.Flags().Func("ceiling", "most that a request may ask for, e.g. timeout=10 or memoryBytes=268435456; repeatable", func(text string) error {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return errors.New("want NAME=NUMBER")
		}
		var n *float64
		if err := number(value, &n); err != nil {
			return err
		}
		if limits.Ceilings == nil {
			limits.Ceilings = map[string]float64{}
		}
		limits.Ceilings[name] = *n
		return nil
	})
	c.Flags().StringSliceVar(&limits.Runtimes, "runtimes", nil, "runtimes that a request may use; the first is the default (default: all)")
	c.Flags().StringSliceVar(&limits.Egress, "egress", nil, "destinations that a request may allow, e.g. *.example.com:443 (default: those of KAA_EGRESS)")
}

func number(text string, to **float64) error {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return errors.New("want a number")
	}
	*to = &n
	return nil
}

func whole[N int | int64](text string, to **N) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return errors.New("want a whole number")
	}
	own := N(n)
	*to = &own
	return nil
}
