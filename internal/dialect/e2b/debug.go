package e2b

import (
	"errors"
	"net/http"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// In their debug mode (E2B_DEBUG) the SDKs open and end no sandbox, and send neither key nor token. All their calls are to one sandbox, which is a
// session with a name here.
const (
	debugSandbox = "debug_sandbox_id"
	debugName    = "e2b-debug"
)

// sessionFor returns the session that a sandbox is; the one of the debug mode is opened if it is not there.
func (d *Dialect) sessionFor(r *http.Request, sandbox string) (session string, ok bool, err error) {
	if sandbox != debugSandbox {
		session, ok = sessionOf(sandbox)
		return session, ok, nil
	}
	caller := service.CallerOf(r.Context())
	se, err := d.service.SessionNamed(r.Context(), caller, debugName)
	if errors.Is(err, job.ErrNoSession) {
		longest := d.service.Limits().Sessions
		age, idle := longest.MaxAge.Seconds(), longest.MaxIdleTimeout.Seconds()
		se, _, err = d.service.EnsureSession(r.Context(), caller, debugName, job.SessionRequest{
			Envs: d.envs(nil), OnCrash: job.OnCrashRestart, IdleTimeout: &idle, MaxAge: &age, Workdir: home, Metadata: encoded(nil, details{Template: "base"}),
		})
	}
	return se.ID, err == nil, err
}

// targetOfRequest returns the session that the header of a call names.
func (d *Dialect) targetOfRequest(r *http.Request) (session string, err error) {
	session, ok, err := d.sessionFor(r, r.Header.Get(sandboxHeader))
	if err == nil && !ok {
		err = errNotFound
	}
	if err == nil {
		service.CallOf(r.Context()).SessionID = session
	}
	return session, err
}
