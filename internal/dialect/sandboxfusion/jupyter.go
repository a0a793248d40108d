package sandboxfusion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// cell is the end of one cell.
type cell struct {
	Stdout  string                       `json:"stdout"`
	Stderr  string                       `json:"stderr"`
	Display []map[string]json.RawMessage `json:"display"` // forms by media type
	Error   []cellError                  `json:"error"`
}

type cellError struct {
	Name      string   `json:"ename"`
	Value     string   `json:"evalue"`
	Traceback []string `json:"traceback"`
}

// notebook is the answer to cells.
type notebook struct {
	Status  string            `json:"status"`
	Message string            `json:"message"`
	Driver  *ran              `json:"driver"`
	Cells   []cell            `json:"cells"`
	PodName *string           `json:"executor_pod_name"`
	Files   map[string]string `json:"files"`
}

// defaultTotal is how many seconds cells get together unless the request says otherwise.
const defaultTotal = 45.0

// runJupyter executes cells in a session of their own, which ends with the call.
func (d *Dialect) runJupyter(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Cells        []string
		CellTimeout  float64  `json:"cell_timeout"` // seconds; 0 is none
		TotalTimeout *float64 `json:"total_timeout"`
		Kernel       string
		files
	}
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	switch {
	case body.Cells == nil:
		return refuse("cells: Field required")
	case body.Kernel != "" && body.Kernel != "python3":
		return refuse("kernel: Input should be 'python3'")
	}
	inputs, err := body.inputs()
	if err != nil {
		return err
	}
	ctx, caller, s := r.Context(), service.CallerOf(r.Context()), d.parts.Service
	se, err := s.OpenSession(ctx, caller, job.SessionRequest{})
	if err != nil {
		return err
	}
	defer func() { // an idle one would end, too, but take room until then
		_, _ = s.CloseSession(context.WithoutCancel(ctx), caller, se.ID)
	}()
	if len(inputs) > 0 {
		if _, err := s.PutSessionFiles(ctx, caller, se.ID, inputs); err != nil {
			return err
		}
	}
	total := defaultTotal
	if body.TotalTimeout != nil && *body.TotalTimeout > 0 {
		total = *body.TotalTimeout
	}
	total = min(total, *dialect.LongestTimeout(ctx, s))
	held := s.HoldBody(caller)
	defer held.Release()
	run := run{Dialect: d, session: se.ID, cellTimeout: body.CellTimeout, begun: time.Now(), total: total, held: held, room: s.Limits().MaxInputBytes}
	answer, err := run.cells(ctx, body.Cells)
	if err != nil {
		return err
	}
	found, release, err := d.fetchSession(r, se.ID, body.files)
	defer release()
	if err != nil {
		return err
	}
	answer.Files = found
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// run is the execution of the cells of a request.
type run struct {
	*Dialect
	session            string
	cellTimeout, total float64
	begun              time.Time
	held               *service.Held
	room               int64 // for the output of the cells that are still to come: all of it is in one answer
}

// cells executes cells in their order. An exception ends its cell only.
func (n run) cells(ctx context.Context, all []string) (notebook, error) {
	answer := notebook{Status: succeeded, Driver: &ran{Status: finished, ReturnCode: new(int)}, Cells: []cell{}}
	fail := func(status, reason string) (notebook, error) {
		took := time.Since(n.begun).Seconds()
		return notebook{Status: failed, Driver: &ran{Status: status, ExecutionTime: &took, Stderr: &reason}, Cells: []cell{}}, nil
	}
	for _, code := range all {
		if strings.TrimSpace(code) == "" {
			answer.Cells = append(answer.Cells, cell{Display: []map[string]json.RawMessage{}, Error: []cellError{}})
			continue
		}
		left := n.total - time.Since(n.begun).Seconds()
		if n.cellTimeout > 0 {
			left = min(left, n.cellTimeout)
		}
		if left <= 0 {
			return fail(timedOut, "the cells took longer than total_timeout")
		}
		// What is kept of a cell counts as a body.
		apart, release := job.HoldApart(ctx)
		j, err := n.parts.Service.Execute(apart, service.CallerOf(ctx), service.Submission{Request: job.Request{
			Code: code, SessionID: n.session, Timeout: new(max(left, 0.001)),
		}})
		release()
		switch {
		case dialect.FailureOf(err) == job.FailSessionEnded, errors.Is(err, job.ErrSessionEnded):
			return fail(broken, "the kernel has ended: "+err.Error())
		case err != nil:
			return notebook{}, err
		case j.Result.Status == job.StatusInterrupted:
			return fail(timedOut, "a cell took longer than its timeout")
		}
		c := cellOf(j.Result)
		size := c.size()
		if n.room -= size; n.room < 0 {
			return fail(broken, fmt.Sprintf("the cells have put out more than %d bytes together; print less", n.parts.Service.Limits().MaxInputBytes))
		}
		if err := n.held.Hold(size); err != nil {
			return notebook{}, err
		}
		answer.Cells = append(answer.Cells, c)
	}
	took := time.Since(n.begun).Seconds()
	answer.Driver.ExecutionTime = &took
	return answer, nil
}

// size is about how many bytes the end of a cell takes.
func (c cell) size() int64 {
	const least = 256
	n := least + len(c.Stdout) + len(c.Stderr)
	for _, forms := range c.Display {
		for _, form := range forms {
			n += len(form)
		}
	}
	for _, e := range c.Error {
		n += len(e.Value) + len(strings.Join(e.Traceback, "\n"))
	}
	return int64(n)
}

func cellOf(r *job.Result) cell {
	c := cell{Stdout: r.Stdout, Stderr: r.Stderr, Display: []map[string]json.RawMessage{}, Error: []cellError{}}
	for _, v := range r.Results {
		c.Display = append(c.Display, v.Data)
	}
	if e := r.Error; e != nil {
		c.Error = append(c.Error, cellError{e.Name, e.Value, strings.Split(strings.TrimSuffix(e.Traceback, "\n"), "\n")})
	}
	return c
}
