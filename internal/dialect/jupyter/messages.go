package jupyter

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// fields are the content of a message.
type fields map[string]any

// answer does a message that is no execution.
func (k *socket) answer(ctx context.Context, m *message) error {
	switch m.typ {
	case "kernel_info_request":
		return k.reply(m, k.d.kernelInfo(ctx, k.session))
	case "complete_request", "inspect_request", "is_complete_request":
		return k.look(ctx, m)
	case "history_request":
		return k.reply(m, fields{"status": "ok", "history": []any{}})
	case "comm_info_request":
		return k.reply(m, fields{"status": "ok", "comms": fields{}})
	case "connect_request":
		return k.reply(m, fields{"status": "ok"})
	case "interrupt_request":
		return k.interrupt(ctx, m)
	case "shutdown_request":
		return k.shutdown(ctx, m)
	case "comm_open":
		return k.closeComm(m)
	}
	if !strings.HasSuffix(m.typ, "_request") { // comm_msg, comm_close and others have no reply
		if err := k.status(m, "busy"); err != nil {
			return err
		}
		return k.status(m, "idle")
	}
	return k.reply(m, failure("NotImplementedError", "Kaa does not know messages of this type"))
}

// failure is the content of a reply that reports an error.
func failure(name, value string) fields {
	return fields{"status": "error", "ename": name, "evalue": value, "traceback": []string{name + ": " + value}}
}

// kernelInfo says what the kernel is.
func (d *Dialect) kernelInfo(ctx context.Context, session string) fields {
	version := "3"
	caller := service.CallerOf(ctx)
	se, err := d.service.Session(ctx, caller, session)
	runtimes, failed := d.service.Runtimes(ctx, caller)
	if err == nil && failed == nil { // else a client is content with less
		for _, rt := range runtimes {
			if rt.Name == se.Runtime || se.Runtime == "" && rt.Default {
				version = rt.Version
			}
		}
	}
	return fields{
		"status": "ok", "protocol_version": messageVersion, "implementation": "kaa", "implementation_version": d.version,
		"language_info": fields{
			"name": "python", "version": version, "mimetype": "text/x-python", "file_extension": ".py", "pygments_lexer": "ipython3",
			"codemirror_mode": fields{"name": "ipython", "version": 3}, "nbconvert_exporter": "python",
		},
		"banner": "Python " + version + " (Kaa " + d.version + ")", "help_links": []any{}, "debugger": false, "supported_features": []any{},
	}
}

// interrupt ends what the kernel executes.
func (k *socket) interrupt(ctx context.Context, m *message) error {
	if _, err := k.d.service.Interrupt(ctx, k.caller, k.session); err != nil {
		return k.reply(m, k.failed(ctx, err))
	}
	return k.reply(m, fields{"status": "ok"})
}

// shutdown ends the kernel, or its interpreter.
func (k *socket) shutdown(ctx context.Context, m *message) error {
	var content struct {
		Restart bool `json:"restart"`
	}
	_ = json.Unmarshal(m.Content, &content) // what it is not told is to end
	var err error
	if content.Restart {
		_, err = k.d.restart(ctx, k.session)
	} else {
		// The end is reported to all clients, and this one gets its reply before.
		if err := k.reply(m, fields{"status": "ok", "restart": false}); err != nil {
			return err
		}
		_, err = k.d.service.CloseSession(ctx, k.caller, k.session)
		k.d.counts.reset(k.session)
		return err
	}
	if err != nil {
		return k.reply(m, k.failed(ctx, err))
	}
	return k.reply(m, fields{"status": "ok", "restart": true})
}

// closeComm says that the kernel has no such target: a client then goes on without.
func (k *socket) closeComm(m *message) error {
	var content struct {
		ID string `json:"comm_id"`
	}
	_ = json.Unmarshal(m.Content, &content)
	if err := k.status(m, "busy"); err != nil {
		return err
	}
	if err := k.send(chanIOPub, "comm_close", m.Header, fields{"comm_id": content.ID, "data": fields{}}); err != nil {
		return err
	}
	return k.status(m, "idle")
}

// failed is the content of a reply for an error of the service.
func (k *socket) failed(ctx context.Context, err error) fields {
	f := dialect.FaultOf(ctx, k.d.log, err)
	name := "KaaError"
	if f.Code == "session_ended" || f.Code == "session_not_found" {
		name = "DeadKernelError"
	}
	return failure(name, f.Message)
}

// mostInput bounds an answer: docs/api/websocket.md.
const mostInput = 16 << 10

// input answers the code that reads a line.
func (k *socket) input(ctx context.Context, m *message) error {
	var content struct {
		Value string `json:"value"`
	}
	k.mu.Lock()
	asked := k.asked
	k.asked = job.Answer{}
	k.mu.Unlock()
	if asked.JobID == "" || json.Unmarshal(m.Content, &content) != nil {
		return nil // nothing reads
	}
	asked.Text = content.Value
	if len(asked.Text) > mostInput { // the code sees the end of its input, and does not wait for ever
		asked.Text, asked.EOF = "", true
	}
	k.give(ctx, asked)
	return nil
}

// give gives the code a line, or the end of its input.
func (k *socket) give(ctx context.Context, answer job.Answer) {
	if err := k.d.service.GiveInput(ctx, k.caller, k.session, answer); err != nil {
		_ = dialect.FaultOf(ctx, k.d.log, err) // it is logged. The execution has ended, or will: its reply says so
	}
}
