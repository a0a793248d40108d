// Package lines is a second, tiny face of the service: one JSON object per line over any
// connection, such as a Unix socket. A request is {"code": …} or {"session": …, "code": …},
// its answer the result or an error.
package lines

import (
	"bufio"
	"context"
	"encoding/json"
	"net"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Face serves callers of one key.
type Face struct {
	Service *service.Service
	Caller  service.Caller
}

type request struct {
	Open    bool   `json:"open"`    // a session
	Session string `json:"session"` // to execute in
	Close   string `json:"close"`   // a session
	Code    string `json:"code"`
}

type answer struct {
	Session string      `json:"session,omitempty"`
	Result  *job.Result `json:"result,omitempty"`
	Error   string      `json:"error,omitempty"`
}

// Serve answers connections until the listener is closed.
func (f Face) Serve(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			f.talk(ctx, conn)
		}()
	}
}

func (f Face) talk(ctx context.Context, conn net.Conn) {
	lines, answers := bufio.NewScanner(conn), json.NewEncoder(conn)
	for lines.Scan() {
		var r request
		var a answer
		err := json.Unmarshal(lines.Bytes(), &r)
		if err == nil {
			a, err = f.answer(ctx, r)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if answers.Encode(a) != nil {
			return
		}
	}
}

func (f Face) answer(ctx context.Context, r request) (answer, error) {
	switch {
	case r.Open:
		session, err := f.Service.OpenSession(ctx, f.Caller, job.SessionRequest{})
		return answer{Session: session.ID}, err
	case r.Close != "":
		session, err := f.Service.CloseSession(ctx, f.Caller, r.Close)
		return answer{Session: session.ID}, err
	}
	j, err := f.Service.Execute(ctx, f.Caller, service.Submission{Request: job.Request{Code: r.Code, SessionID: r.Session}})
	return answer{Result: j.Result}, err
}
