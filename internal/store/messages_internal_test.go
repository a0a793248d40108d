package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// heard writes down which methods of Messages are called.
type heard chan string

func (h heard) Cancelled(id string)          { h <- "cancelled " + id }
func (h heard) Watched(id string)            { h <- "watched " + id }
func (h heard) DrainChanged()                { h <- "drain" }
func (h heard) SessionReady(id, lane string) { h <- strings.TrimSpace("ready " + id + " " + lane) }
func (h heard) SessionClosed(id string)      { h <- "closed " + id }
func (h heard) SessionClosing(id string)     { h <- "closing " + id }
func (h heard) Answered(a job.Answer)        { h <- fmt.Sprintf("answered %+v", a) }
func (h heard) Replied(p job.Reply)          { h <- fmt.Sprintf("replied %+v", p) }
func (h heard) CommandTold(id string)        { h <- "command " + id }

// TestMessages: what the scripts write is what ListenRunner reads, in the form of earlier
// versions. A message of an unknown kind is ignored and logged without its content.
func TestMessages(t *testing.T) {
	t.Parallel()
	rdb := testenv.OwnRedis(t).Client(t) // databases of one Redis share their channels
	s := New(rdb, Config{})
	var logged bytes.Buffer
	to := make(heard, 4)
	l, err := s.ListenRunner(t.Context(), "r", to, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	tests := []struct{ tell, wire, want string }{
		{"tell_cancelled('r', 'j')", "j", "cancelled j"},
		{"tell_watched('r', 'j')", "events:j", "watched j"},
		{"tell_ready('r', 's')", "session s", "ready s"},
		{"tell_ready('r', 's l')", "session s l", "ready s l"},
		{"tell_drain('r')", "drain changed", "drain"},
		{"tell_command('r', 'j')", "command j", "command j"},
		{"tell_closed('r', 's')", "ended s", "closed s"},
		{"tell_closing('r', 's')", "closing s", "closing s"},
		{"tell_answer('r', 'j', '3', '+a  b')", "input j 3 +a  b", "answered {JobID:j Request:3 Text:a  b EOF:false}"},
		{"tell_answer('r', 'j', '3', '-')", "input j 3 -", "answered {JobID:j Request:3 Text: EOF:true}"},
	}
	for _, tt := range tests {
		for _, send := range []string{tt.tell, "redis.call('PUBLISH', '{kaa}:cancel:r', '" + tt.wire + "')"} {
			script := redis.NewScript(tellLua + send + " tell_cancelled('r', 'end') return 1")
			if err := script.Run(t.Context(), rdb, nil).Err(); err != nil {
				t.Fatal(send, err)
			}
			var got []string
			for m := range to {
				if m == "cancelled end" {
					break
				}
				got = append(got, m)
			}
			if !slices.Equal(got, []string{tt.want}) {
				t.Errorf("%s: %q, want %q", send, got, tt.want)
			}
		}
	}
	unknown := []string{"pause secret", "later:j", "", "input j", "input j secret +x"}
	for _, text := range append(unknown, "last") {
		rdb.Publish(t.Context(), "{kaa}:cancel:r", text)
	}
	if got := <-to; got != "cancelled last" {
		t.Errorf("an unknown message is taken for %q", got)
	}
	if n := strings.Count(logged.String(), "unknown kind"); n != len(unknown) || strings.Contains(logged.String(), "secret") {
		t.Errorf("logged %d of %d unknown messages:\n%s", n, len(unknown), logged.String())
	}
}
