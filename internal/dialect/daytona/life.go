package daytona

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// save keeps the settings of a sandbox.
func (d *Dialect) save(ctx context.Context, se job.Session, s settings) (job.Session, error) {
	return d.service.ChangeSession(ctx, service.CallerOf(ctx), se.ID, job.SessionChangeRequest{Metadata: s.metadata()})
}

// start lets a sandbox go on that was stopped or paused.
func (d *Dialect) start(ctx context.Context, se job.Session) (job.Session, error) {
	if se.PausedAt.IsZero() {
		return se, nil
	}
	se, err := d.service.ResumeSession(ctx, service.CallerOf(ctx), se.ID)
	if s := settingsOf(se); err == nil && s.State != "" {
		s.State = ""
		se, err = d.save(ctx, se, s)
	}
	return se, err
}

// pause stops the processes where they are.
func (d *Dialect) pause(ctx context.Context, se job.Session) (job.Session, error) {
	if !se.PausedAt.IsZero() {
		return se, nil
	}
	return d.paused(ctx, se, statePaused)
}

// stop ends what a sandbox executes and keeps its files: the session gets a fresh interpreter, loses its other contexts and its commands,
// and is paused.
func (d *Dialect) stop(ctx context.Context, se job.Session, state string) (job.Session, error) {
	caller := service.CallerOf(ctx)
	s := settingsOf(se)
	switch {
	case !se.PausedAt.IsZero() && s.State != statePaused && s.State != "":
		s.State = state
		return d.save(ctx, se, s)
	case s.AutoDelete == 0:
		return d.service.CloseSession(ctx, caller, se.ID)
	}
	if _, err := d.start(ctx, se); err != nil {
		return se, err
	}
	if _, err := d.service.Interrupt(ctx, caller, se.ID); err != nil { // the restart would wait for it
		return se, err
	}
	if _, err := d.service.RestartContext(ctx, caller, se.ID, job.DefaultContext); err != nil {
		return se, err
	}
	if err := d.emptied(ctx, se.ID); err != nil {
		return se, err
	}
	return d.paused(ctx, se, state)
}

// emptied ends all contexts but the default one, and all commands, and waits for that.
func (d *Dialect) emptied(ctx context.Context, session string) error {
	caller := service.CallerOf(ctx)
	contexts, err := d.service.Contexts(ctx, caller, session)
	if err != nil {
		return err
	}
	for _, c := range contexts {
		if c.ID == job.DefaultContext {
			continue
		}
		if err := d.service.DeleteContext(ctx, caller, session, c.ID); err != nil && !errors.Is(err, service.ErrNoContext) {
			return err
		}
	}
	commands, err := d.service.Commands(ctx, caller, session)
	if err != nil {
		return err
	}
	for _, j := range commands {
		if _, _, err := d.service.EndCommand(ctx, caller, session, j.ID); err != nil && !errors.Is(err, job.ErrFinished) {
			return err
		}
	}
	for _, j := range commands {
		if _, err := d.service.Command(ctx, caller, session, j.ID, commandEnd); err != nil && !errors.Is(err, job.ErrNotFound) {
			return err
		}
	}
	return nil
}

// commandEnd is for how long a stop waits for the end of a command.
const commandEnd = 10 * time.Second

func (d *Dialect) paused(ctx context.Context, se job.Session, state string) (job.Session, error) {
	se, err := d.service.PauseSession(ctx, service.CallerOf(ctx), se.ID, nil, false)
	if err != nil {
		return se, err
	}
	s := settingsOf(se)
	s.State = state
	return d.save(ctx, se, s)
}

// mostMinutes is the largest interval.
const mostMinutes = 1 << 30

// minutesOf reads the minutes in the path of a request.
func minutesOf(r *http.Request) (int64, error) {
	n, err := strconv.ParseInt(r.PathValue("minutes"), 10, 32)
	if err != nil || n < -1 || n > mostMinutes {
		return 0, badRequest("the interval must be a number of minutes from -1 on")
	}
	return n, nil
}

// setInterval sets one of the intervals, of which Kaa only keeps the number.
func (d *Dialect) setInterval(set func(*settings, int64)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		n, err := minutesOf(r)
		if err != nil {
			return err
		}
		return d.changed(func(ctx context.Context, se job.Session) (job.Session, error) {
			s := settingsOf(se)
			set(&s, n)
			idle, _ := d.lifeOf(s)
			return d.service.ChangeSession(ctx, service.CallerOf(ctx), se.ID, job.SessionChangeRequest{Metadata: s.metadata(), IdleTimeout: &idle})
		})(w, r)
	}
}

// setTTL sets the time after which a sandbox ends, from now on.
func (d *Dialect) setTTL(w http.ResponseWriter, r *http.Request) error {
	n, err := minutesOf(r)
	if err != nil {
		return err
	}
	return d.changed(func(ctx context.Context, se job.Session) (job.Session, error) {
		change := job.SessionChangeRequest{NoEnd: true}
		if n > 0 {
			seconds := (time.Duration(n) * time.Minute).Seconds()
			change = job.SessionChangeRequest{EndsIn: &seconds}
		}
		return d.service.ChangeSession(ctx, service.CallerOf(ctx), se.ID, change)
	})(w, r)
}

func (d *Dialect) setPublic(w http.ResponseWriter, r *http.Request) error {
	return d.changed(func(ctx context.Context, se job.Session) (job.Session, error) {
		s := settingsOf(se)
		s.Public = r.PathValue("public") == "true"
		return d.save(ctx, se, s)
	})(w, r)
}

// labelsOf reads labels in a query.
func labelsOf(text string) (labels map[string]string, err error) {
	if text == "" {
		return nil, nil
	}
	if err := dialect.Unmarshal([]byte(text), &labels); err != nil {
		return nil, badRequest("labels: send an object of texts as JSON")
	}
	return labels, nil
}

func (d *Dialect) setLabels(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Labels map[string]string `json:"labels"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	se, err := d.on(r, func(ctx context.Context, se job.Session) (job.Session, error) {
		s := settingsOf(se)
		s.Labels = body.Labels
		return d.save(ctx, se, s)
	})
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]any{"labels": d.view(r, se).Labels})
}

// touch says that a sandbox is in use: a call on its files that changes nothing.
func (d *Dialect) touch(w http.ResponseWriter, r *http.Request) error {
	se, err := d.find(r.Context(), r.PathValue("id"))
	if err == nil && se.PausedAt.IsZero() {
		_, err = d.service.SessionFS(r.Context(), service.CallerOf(r.Context()), se.ID, job.FSRequest{Do: job.FSStat, Path: []byte(homeOf(se))})
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// setNetwork keeps settings of the network, which a sandbox does not have in any case.
func (d *Dialect) setNetwork(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		BlockAll  *bool   `json:"networkBlockAll"`
		AllowList *string `json:"networkAllowList"`
		Domains   *string `json:"domainAllowList"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	return d.changed(func(ctx context.Context, se job.Session) (job.Session, error) {
		s := settingsOf(se)
		if body.BlockAll != nil {
			s.BlockAll = *body.BlockAll
		}
		if body.AllowList != nil {
			s.AllowList = *body.AllowList
		}
		if body.Domains != nil {
			s.Domains = *body.Domains
		}
		return d.save(ctx, se, s)
	})(w, r)
}

// noMetrics answers that there are no figures over time: Kaa measures each execution.
func (d *Dialect) noMetrics(w http.ResponseWriter, r *http.Request) error {
	if _, err := d.find(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]any{"series": []any{}})
}

func (d *Dialect) toolboxURLOf(w http.ResponseWriter, r *http.Request) error {
	if _, err := d.find(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]string{"url": toolboxURL(r)})
}

// noCopy says that sandboxes cannot be copied: a fork of a session has its files at another path.
func (d *Dialect) noCopy(_ http.ResponseWriter, r *http.Request) error {
	if _, err := d.find(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return dialect.NewFault(http.StatusNotImplemented, "not_supported", "sandboxes cannot be forked or made into snapshots here")
}
