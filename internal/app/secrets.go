package app

import (
	"context"

	"github.com/kaa-run/kaa/internal/app/config"
	"github.com/kaa-run/kaa/internal/job"
)

// secretFeed keeps the secrets of KAA_SECRETS_FILE up to date.
type secretFeed struct {
	values *job.NetworkSecrets // for the proxies of sandboxes
	names  *job.NetworkSecrets // without their values, for the checks of requests
	file   followedFile[job.NetworkSecret]
	end    context.CancelFunc
}

// startSecrets reads the secrets and keeps them up to date until close.
func (s *shared) startSecrets(ctx context.Context) error {
	f := &secretFeed{values: job.NewNetworkSecrets(), names: job.NewNetworkSecrets()}
	f.file = followedFile[job.NetworkSecret]{
		path: s.cfg.SecretsFile, variable: "KAA_SECRETS_FILE", what: "secrets", log: s.log, set: f.set, read: config.SecretsIn, done: make(chan struct{}),
	}
	following, end := context.WithCancel(context.WithoutCancel(ctx))
	first := make(chan error, 1)
	go f.file.follow(following, first)
	f.end, s.secrets = end, f
	select {
	case err := <-first:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *secretFeed) set(all []job.NetworkSecret) {
	f.values.Set(all)
	names := make([]job.NetworkSecret, len(all))
	for i, secret := range all {
		secret.Value = ""
		names[i] = secret
	}
	f.names.Set(names)
}

// close ends the updates.
func (f *secretFeed) close() {
	f.end()
	f.file.ended(context.Background())
}
