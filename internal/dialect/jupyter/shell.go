package jupyter

import (
	"context"
	"slices"
	"strings"
)

// serve does the messages of the shell channel.
func (k *socket) serve(ctx context.Context) error {
	defer func() {
		for _, m := range k.taken {
			m.held.Release()
		}
	}()
	for {
		var m waiting
		if len(k.taken) > 0 {
			m, k.taken = k.taken[0], k.taken[1:]
		} else {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case m = <-k.shell:
			}
		}
		err := k.do(ctx, m.message)
		m.held.Release()
		if err != nil {
			return err
		}
	}
}

// do does one message.
func (k *socket) do(ctx context.Context, m *message) error {
	k.turn.Lock()
	defer k.turn.Unlock()
	if m.typ != "execute_request" {
		return k.answer(ctx, m)
	}
	abort, err := k.execute(ctx, m)
	if err == nil && abort {
		err = k.abort()
	}
	return err
}

// take takes the messages that wait. Those that a client sends when it knows of an error are not among them.
func (k *socket) take() {
	for {
		select {
		case m := <-k.shell:
			k.taken = append(k.taken, m)
		default:
			return
		}
	}
}

// abort answers the executions among the messages that were taken, which are not to begin.
func (k *socket) abort() (err error) {
	k.taken = slices.DeleteFunc(k.taken, func(m waiting) bool {
		if m.typ != "execute_request" {
			return false
		}
		if err == nil {
			err = k.reply(m.message, map[string]any{"status": "aborted", "execution_count": k.d.counts.last(k.session)})
		}
		m.held.Release()
		return true
	})
	return err
}

// reply answers a message that does nothing else between the states busy and idle.
func (k *socket) reply(m *message, content any) error {
	if err := k.status(m, "busy"); err != nil {
		return err
	}
	if err := k.respond(m, content); err != nil {
		return err
	}
	return k.status(m, "idle")
}

// respond sends the reply to a message, on its channel.
func (k *socket) respond(m *message, content any) error {
	channel := m.Channel
	if channel == "" {
		channel = chanShell
	}
	return k.send(channel, strings.TrimSuffix(m.typ, "_request")+"_reply", m.Header, content)
}
