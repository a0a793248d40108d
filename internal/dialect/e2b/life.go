package e2b

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// isGone reports whether an error means that a session is not there for the caller, or has ended.
func isGone(err error) bool {
	end := (*service.EndError)(nil)
	return errors.Is(err, job.ErrNoSession) || errors.Is(err, job.ErrSessionEnded) ||
		errors.As(err, &end) && end.Job.Failure != nil && (end.Job.Failure.Code == job.FailSessionEnded || end.Job.Failure.Code == job.FailRunnerLost)
}

// isOver reports whether the end of a session has come. Its runner ends, or pauses, it within a second.
func isOver(se job.Session) bool {
	return se.State != job.SessionPaused && !se.EndsAt.IsZero() && !time.Now().Before(se.EndsAt)
}

// connect resumes a sandbox that is paused, and moves the end of one that runs to a later time.
func (d *Dialect) connect(w http.ResponseWriter, r *http.Request) error {
	var body timeoutBody
	if err := decode(r, &body); err != nil {
		return err
	}
	se, err := d.sandboxIn(r)
	if err != nil {
		return err
	}
	caller, status := service.CallerOf(r.Context()), http.StatusOK
	if se.State == job.SessionPaused {
		status = http.StatusCreated
		if se, err = d.service.ResumeSession(r.Context(), caller, se.ID); err != nil {
			return err
		}
	}
	if se, err = d.endIn(r, se.ID, body.Timeout, status == http.StatusOK); err != nil {
		return err
	}
	dialect.WriteJSON(w, status, d.sandboxOf(caller, se))
	return nil
}

// pause pauses a sandbox. The end that was set does not count until it is resumed.
func (d *Dialect) pause(w http.ResponseWriter, r *http.Request) error {
	se, err := d.sandboxIn(r)
	if err != nil {
		return err
	}
	if se.State == job.SessionPaused {
		return dialect.NewFault(http.StatusConflict, "session_paused", "the sandbox is paused already")
	}
	caller, age := service.CallerOf(r.Context()), d.service.Limits().Sessions.MaxAge.Seconds()
	if _, err = d.service.PauseSession(r.Context(), caller, se.ID, nil, se.AtEnd != nil && se.AtEnd.AutoResume); err != nil {
		return pauseError(err)
	}
	if se.AtEnd != nil { // its end was taken away with the pause
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if _, err = d.service.ChangeSession(r.Context(), caller, se.ID, job.SessionChangeRequest{NoEnd: true, MaxAge: &age}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// pauseError words that a sandbox cannot be paused. The SDKs take the status of a conflict for one that is paused already.
func pauseError(err error) error {
	if failure(err) == job.FailRefused {
		return dialect.NewFault(http.StatusBadRequest, string(job.FailRefused), "%s", err.Error())
	}
	return err
}

type forked struct {
	Sandbox *sandbox   `json:"sandbox,omitempty"`
	Error   *errorBody `json:"error,omitempty"`
}

// mostForks is the limit of the protocol.
const mostForks = 20

// fork copies a sandbox. Those beyond the limit of one fork are made by a further one.
func (d *Dialect) fork(w http.ResponseWriter, r *http.Request) error {
	var body timeoutBody
	if err := decode(r, &body); err != nil {
		return err
	}
	count := max(1, body.Count)
	if count > mostForks {
		return dialect.NewFault(http.StatusBadRequest, "invalid_request", "count must be from 1 to %d", mostForks)
	}
	se, err := d.sandboxIn(r)
	if err != nil {
		return err
	}
	caller := service.CallerOf(r.Context())
	answer := make([]forked, 0, count)
	for count > 0 {
		n := min(count, job.MaxForks)
		count -= n
		forks, err := d.service.Fork(r.Context(), caller, se.ID, n)
		if err != nil {
			if len(answer) == 0 {
				return err
			}
			f := dialect.FaultOf(r.Context(), d.log, err)
			for range n {
				answer = append(answer, forked{Error: &errorBody{f.Status, f.Message}})
			}
			continue
		}
		for _, one := range forks {
			if one, err = d.endIn(r, one.ID, body.Timeout, false); err != nil {
				f := dialect.FaultOf(r.Context(), d.log, err)
				answer = append(answer, forked{Error: &errorBody{f.Status, f.Message}})
				continue
			}
			sb := d.sandboxOf(caller, one)
			answer = append(answer, forked{Sandbox: &sb})
		}
	}
	dialect.WriteJSON(w, http.StatusCreated, answer)
	return nil
}

// measure is one measurement of a sandbox.
type measure struct {
	Timestamp  time.Time `json:"timestamp"`
	Unix       int64     `json:"timestampUnix"`
	CPUCount   int64     `json:"cpuCount"`
	CPUUsedPct float64   `json:"cpuUsedPct"`
	MemUsed    int64     `json:"memUsed"`
	MemTotal   int64     `json:"memTotal"`
	MemCache   int64     `json:"memCache"`
	DiskUsed   int64     `json:"diskUsed"`
	DiskTotal  int64     `json:"diskTotal"`
}

// metrics answers with what a sandbox uses now. A paused one uses no processor, and is not asked.
func (d *Dialect) metrics(w http.ResponseWriter, r *http.Request) error {
	se, err := d.sandboxIn(r)
	if err != nil {
		return err
	}
	now, all := time.Now(), []measure{}
	from, fromErr := strconv.ParseInt(r.URL.Query().Get("start"), 10, 64)
	to, toErr := strconv.ParseInt(r.URL.Query().Get("end"), 10, 64)
	if se.State == job.SessionPaused || fromErr == nil && now.Unix() < from || toErr == nil && se.CreatedAt.Unix() > to {
		dialect.WriteJSON(w, http.StatusOK, all)
		return nil
	}
	used, err := d.service.MeasureSession(r.Context(), service.CallerOf(r.Context()), se.ID)
	if err != nil {
		return err
	}
	quota := d.service.Limits().DefaultQuota
	all = append(all, measure{
		Timestamp: now, Unix: now.Unix(), CPUCount: max(1, int64(quota.CPUs)), CPUUsedPct: used.CPUPercent, MemUsed: used.MemoryBytes, MemTotal: quota.MemoryBytes,
		DiskUsed: used.DiskBytes, DiskTotal: quota.DiskBytes,
	})
	dialect.WriteJSON(w, http.StatusOK, all)
	return nil
}
