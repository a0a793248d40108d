package daytona

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

func (d *Dialect) lineLogs(w http.ResponseWriter, r *http.Request) error {
	se, j, err := d.line(r)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("follow") == "true" {
		return d.followLine(w, r, se.ID, j.ID)
	}
	if !j.State.Terminal() {
		if j, err = d.soFar(r.Context(), se.ID, j); err != nil {
			return err
		}
	}
	logs := logsOf(j, split(r))
	if strings.HasPrefix(r.Header.Get("Accept"), "text/plain") { // older SDKs know nothing else
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = io.WriteString(w, logs.Output) // a caller that has gone needs nothing
		return nil
	}
	return answerJSON(w, http.StatusOK, logs)
}

// soFar reads what a line that runs has put out.
func (d *Dialect) soFar(ctx context.Context, session string, j job.Job) (job.Job, error) {
	var result job.Result
	var stdout, stderr strings.Builder
	err := d.eachPiece(ctx, session, j.ID, 200*time.Millisecond, func(stream, text string) error {
		if stream == "stderr" {
			stderr.WriteString(text)
		} else {
			stdout.WriteString(text)
		}
		result.Outputs = append(result.Outputs, job.Output{Type: stream, Text: text})
		return nil
	})
	result.Stdout, result.Stderr = stdout.String(), stderr.String()
	j.Result = &result
	return j, err
}

// mostReading is for how long the output of a line that never pauses is read: the next call has what comes later.
const mostReading = time.Second

// eachPiece passes on the output of a line from its beginning to its end, or, if quiet is not 0, until nothing has come for so long, and for
// mostReading at most.
func (d *Dialect) eachPiece(ctx context.Context, session, id string, quiet time.Duration, use func(stream, text string) error) error {
	f, err := d.service.FollowCommand(ctx, service.CallerOf(ctx), session, id, job.EventID{})
	if err != nil {
		return err
	}
	defer f.Close()
	for begun := time.Now(); quiet == 0 || time.Since(begun) < mostReading; {
		wait := quiet
		if wait == 0 {
			wait = time.Minute
		}
		event, err := f.Next(ctx, wait)
		switch {
		case errors.Is(err, service.ErrOver), errors.Is(err, service.ErrEnded), errors.Is(err, service.ErrQuiet) && quiet > 0:
			return nil
		case errors.Is(err, service.ErrQuiet):
			continue
		case err != nil:
			return err
		}
		var data job.StreamData
		if event.Type == job.EventStream && json.Unmarshal(event.Data, &data) == nil {
			if err := use(data.Stream, data.Text); err != nil {
				return err
			}
		}
	}
	return nil
}

// followLine sends the output of a line over a WebSocket, with a prefix for each stream.
func (d *Dialect) followLine(w http.ResponseWriter, r *http.Request, session, id string) error {
	s, err := d.accept(w, r, session)
	if err != nil {
		return err
	}
	defer s.done()
	ctx := s.alone()
	err = d.eachPiece(ctx, session, id, 0, func(stream, text string) error {
		return s.write(websocket.MessageBinary, []byte(prefixOf(stream)+text))
	})
	if err == nil {
		err = &over{websocket.StatusNormalClosure, ""}
	} else if !errors.Is(err, errGone) {
		err = d.closing(ctx, err)
	}
	s.bye(err)
	return nil
}
