package e2b

import (
	"context"
	"maps"
	"sync"
)

// copyEnvs are the variables of sandboxes that were made of snapshots, as this process has read them. Those of other sandboxes are the
// session's own, and nil here.
type copyEnvs struct {
	mu  sync.Mutex
	all map[string]map[string]string // by session
}

func (e *copyEnvs) note(session string, envs map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil || len(e.all) >= mostCounted {
		e.all = map[string]map[string]string{} // they are read again
	}
	e.all[session] = envs
}

func (e *copyEnvs) of(session string) (envs map[string]string, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	envs, known = e.all[session]
	return envs, known
}

// withEnvs returns the variables of a call to a sandbox, with those of the sandbox that its session has not.
func (d *Dialect) withEnvs(ctx context.Context, t target, theirs map[string]string) (map[string]string, error) {
	envs, known := d.copies.of(t.session)
	if !known {
		se, err := d.service.Session(ctx, t.caller, t.session)
		if err != nil {
			return nil, err
		}
		envs = detailsOf(se).Envs
		d.copies.note(t.session, envs)
	}
	if len(envs) == 0 {
		return theirs, nil
	}
	all := maps.Clone(envs)
	maps.Copy(all, theirs)
	return all, nil
}
