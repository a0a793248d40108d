package cases_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// ample is the time that a program has if its case names none.
const ample = "10m"

// kaa is a running Kaa.
type kaa struct {
	url    string
	client *http.Client
}

// startKaa starts a whole one, with the runtimes that cases name. It stops with the test.
func startKaa(t *testing.T) *kaa {
	t.Helper()
	var environ []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "KAA_") {
			environ = append(environ, kv)
		}
	}
	environ = append(environ, "KAA_ADDR=127.0.0.1:0", "KAA_REDIS_URL="+testenv.Redis(t).URL, "KAA_BLOB_URL=file://"+t.TempDir(), "KAA_CONCURRENCY=4", "KAA_LOG_LEVEL=error", "KAA_PLAIN="+testenv.Plain(),
		// A busy machine takes its time to start interpreters, and to execute.
		"KAA_SYNC_QUEUE_WAIT="+ample, "KAA_DEFAULT_TIMEOUT="+ample,
		"KAA_RUNTIMES=python="+testenv.SystemPython()+";libs="+testenv.LibsPython(t)+";bare="+testenv.LibsBarePython(t))
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- app.RunDev(ctx, app.Process{
			Environ: environ, Stdout: io.Discard, Stderr: t.Output(), Ready: func(a net.Addr) { ready <- a },
		})
	}()
	k := &kaa{client: &http.Client{Transport: &http.Transport{}}}
	select {
	case addr := <-ready:
		k.url = "http://" + addr.String()
	case err := <-ended:
		stop()
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		k.client.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return k
}

// send makes a request and returns the answer's text.
func (k *kaa) send(ctx context.Context, method, path, accept string, body fields) (string, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, k.url+path, bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", accept)
	res, err := k.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, raw)
	}
	return string(raw), err
}

// run sends the requests of a case, one after the other.
func (k *kaa) run(t *testing.T, c oneCase) []answer {
	t.Helper()
	session := ""
	if len(c.Request) > 1 {
		session = k.open(t, c.Request[0])
	}
	var answers []answer
	for _, request := range c.Request {
		body, stream := fields{}, false
		for name, value := range request {
			switch name {
			case "stream":
				stream = value == true
			case "runtime":
				if session == "" {
					body[name] = value
				}
			default:
				body[name] = value
			}
		}
		if session != "" {
			body["sessionId"] = session
		}
		answers = append(answers, k.execute(t, body, stream))
	}
	return answers
}

func (k *kaa) open(t *testing.T, first fields) string {
	t.Helper()
	body := fields{}
	if runtime, ok := first["runtime"]; ok {
		body["runtime"] = runtime
	}
	raw, err := k.send(t.Context(), http.MethodPost, "/v1/sessions", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	var opened struct{ ID string }
	if err := json.Unmarshal([]byte(raw), &opened); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := k.send(context.Background(), http.MethodDelete, "/v1/sessions/"+opened.ID, "application/json", nil); err != nil {
			t.Error(err)
		}
	})
	return opened.ID
}

func (k *kaa) execute(t *testing.T, body fields, stream bool) answer {
	t.Helper()
	accept := "application/json"
	if stream {
		accept = "text/event-stream"
	}
	raw, err := k.send(t.Context(), http.MethodPost, "/process/interpreter/execute", accept, body)
	if err != nil {
		t.Fatal(err)
	}
	if stream {
		return follow(t, raw)
	}
	a := answer{raw: raw}
	if err := json.Unmarshal([]byte(raw), &a); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return a
}

// follow reads the events of an execution.
func follow(t *testing.T, raw string) answer {
	t.Helper()
	a := answer{raw: raw}
	for line := range strings.Lines(raw) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e struct {
			Type, Stream, Text, State, Status string
			Data                              map[string]any
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		switch e.Type {
		case "stream":
			a.live += e.Text
		case "display", "result":
			a.live += fmt.Sprintf("[%v]", e.Data["text/plain"])
		case "status":
			a.Status = e.Status
		}
	}
	return a
}
