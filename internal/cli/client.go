package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// client calls an API process.
type client struct {
	url, key string
}

// executePath is where programs are executed.
const executePath = "/process/interpreter/execute"

// runRequest is the body of an execution.
type runRequest struct {
	Code    string            `json:"code"`
	Stdin   string            `json:"stdin,omitempty"`
	Timeout float64           `json:"timeout,omitempty"`
	Envs    map[string]string `json:"envs,omitempty"`
	Args    []string          `json:"args,omitempty"`
	Files   []runFile         `json:"files,omitempty"`
	*runCases
}

// runCases are the cases of a program, as the API takes them.
type runCases struct {
	Cases              json.RawMessage `json:"cases,omitempty"`
	Checker            json.RawMessage `json:"checker,omitempty"`
	CaseTimeout        *float64        `json:"caseTimeout,omitempty"`
	StopAtFirstFailure bool            `json:"stopAtFirstFailure,omitempty"`
}

// runFile is an input file of a program.
type runFile struct {
	Path    string `json:"path"`
	Content []byte `json:"contentBase64"`
}

// runEnd is the end of an execution: the last event of its stream.
type runEnd struct {
	State   job.State    `json:"state"`
	Failure *job.Failure `json:"failure"`
	job.Result
}

// runListener receives the events of an execution, in order.
type runListener interface {
	began(jobID string)
	wrote(stream, text string) error
	showed(v job.Value)
	judged(c job.CaseResult)
	missed(bytes uint64)
}

// call sends a request. An answer other than 2xx is an error with the answer's detail.
func (c client) call(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.url, "/")+path, body)
	if err != nil {
		return nil, fmt.Errorf("KAA_URL: %w", err)
	}
	maps.Copy(req.Header, header)
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	return nil, c.refused(res)
}

// unreachable words the error of a request without an answer.
func (c client) unreachable(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("nothing answers at %s (KAA_URL): is Kaa running there? %w", c.url, err)
	}
	return err
}

// refused returns the detail of an answer that is a problem.
func (c client) refused(res *http.Response) error {
	var problem struct {
		Detail string `json:"detail"`
	}
	if err := json.NewDecoder(res.Body).Decode(&problem); err != nil || problem.Detail == "" {
		return fmt.Errorf("%s answered %s", c.url, res.Status)
	}
	return errors.New(problem.Detail)
}

// execute sends a program or a command to a path, and passes its events to l until its end.
func (c client) execute(ctx context.Context, path string, request any, l runListener) (runEnd, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return runEnd{}, fmt.Errorf("encode request: %w", err)
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"text/event-stream, application/json"}}
	res, err := c.call(ctx, http.MethodPost, path, bytes.NewReader(body), header)
	if err != nil {
		return runEnd{}, err
	}
	defer func() { _ = res.Body.Close() }()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return follow(bufio.NewReader(res.Body), l)
	}
	// A server, or a proxy before it, that does not support streams answers with the result.
	end := runEnd{State: job.Completed}
	if err := json.NewDecoder(res.Body).Decode(&end.Result); err != nil {
		return runEnd{}, fmt.Errorf("decode result: %w", err)
	}
	err = errors.Join(l.wrote("stdout", end.Stdout), l.wrote("stderr", end.Stderr))
	for _, v := range end.Results {
		l.showed(v)
	}
	for _, c := range end.Cases {
		l.judged(c)
	}
	return end, err
}

// get passes the body of an answer to take.
func (c client) get(ctx context.Context, path string, take func(io.Reader) error) error {
	res, err := c.call(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	return take(res.Body)
}

// cancel asks for the end of a job.
func (c client) cancel(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	res, err := c.call(ctx, http.MethodDelete, "/v1/jobs/"+id, nil, nil)
	if err == nil {
		_ = res.Body.Close()
	}
	return err
}

// follow reads the events of an execution until the last.
func follow(r *bufio.Reader, l runListener) (runEnd, error) {
	for {
		data, err := nextData(r)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the connection to Kaa ended before the program did")
			}
			return runEnd{}, err
		}
		var e struct {
			Type   job.EventType `json:"type"`
			State  job.State     `json:"state"`
			JobID  string        `json:"jobId"`
			Stream string        `json:"stream"`
			Text   string        `json:"text"`
			Bytes  uint64        `json:"bytes"`
			Code   string        `json:"code"`
			Detail string        `json:"detail"`
		}
		if err := json.Unmarshal(data, &e); err != nil {
			return runEnd{}, fmt.Errorf("decode event: %w", err)
		}
		switch e.Type { //nolint:exhaustive // a command line does not need the others
		case job.EventStatus:
			if e.State.Terminal() {
				var end runEnd
				if err := json.Unmarshal(data, &end); err != nil {
					return runEnd{}, fmt.Errorf("decode the last event: %w", err)
				}
				return end, nil
			}
			if e.JobID != "" {
				l.began(e.JobID)
			}
		case job.EventStream:
			if err := l.wrote(e.Stream, e.Text); err != nil {
				return runEnd{}, err
			}
		case job.EventDisplay, job.EventResult:
			var v job.Value
			if err := json.Unmarshal(data, &v); err != nil {
				return runEnd{}, fmt.Errorf("decode event: %w", err)
			}
			l.showed(v)
		case job.EventCase:
			var c job.CaseResult
			if err := json.Unmarshal(data, &c); err != nil {
				return runEnd{}, fmt.Errorf("decode event: %w", err)
			}
			l.judged(c)
		case job.EventGap:
			l.missed(e.Bytes)
		case job.EventError:
			if e.Code != "" { // not the program's exception, which comes with the end, too
				return runEnd{}, errors.New(e.Detail)
			}
		}
	}
}

// nextData returns the data of the next server-sent event.
func nextData(r *bufio.Reader) ([]byte, error) {
	var data []byte
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 && data != nil {
			return data, nil
		}
		if rest, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(data, bytes.TrimPrefix(rest, []byte(" "))...)
		}
	}
}
