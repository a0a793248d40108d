package runner

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/kaa-run/kaa/internal/job"
)

// storedMessages are the messages to a command, which are read once.
type storedMessages struct {
	CommandRecords

	sent []job.StoredMessage
}

func (s storedMessages) CommandMessages(_ context.Context, _, after string) ([]job.StoredMessage, error) {
	if after != "" {
		return nil, nil
	}
	return s.sent, nil
}

// TestInputFollowsTheSize: input that was sent after a new size of the terminal is not passed on before that has its effect.
func TestInputFollowsTheSize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		records := storedMessages{sent: []job.StoredMessage{
			{ID: "1", CommandMessage: job.CommandMessage{Size: &job.TerminalSize{Columns: 100, Rows: 30}}},
			{ID: "2", CommandMessage: job.CommandMessage{Data: []byte("stty size\n")}},
		}}
		control, read := make(chan job.StoredMessage), make(chan struct{})
		p := &passing{records: records, log: slog.New(slog.DiscardHandler), e: &execution{}, control: control}
		go func() {
			p.read(t.Context())
			close(read)
		}()
		if m := <-control; m.Size == nil {
			t.Fatalf("%+v", m)
		}
		synctest.Wait() // the size is being set
		select {
		case <-read:
			t.Fatal("the input is passed on while the size is being set")
		default:
		}
		if m := <-control; m.Size != nil || m.Signal != "" {
			t.Errorf("%+v", m)
		}
		<-read
		if len(p.waiting) != 1 || p.waiting[0].ID != "2" {
			t.Errorf("%+v", p.waiting)
		}
	})
}

// TestInputIsNotedMeanwhile: a command that takes no more signals and sizes, because it has ended, can note what it has of its input. It waits for that.
func TestInputIsNotedMeanwhile(t *testing.T) {
	t.Parallel()
	took, quit := make(chan string), make(chan struct{})
	p, done := &passing{control: make(chan job.StoredMessage), took: took, quit: quit}, make(chan bool)
	go func() { done <- p.passControl(job.StoredMessage{}) }()
	took <- "an id"
	close(quit)
	if passed := <-done; passed || len(p.taken) != 1 {
		t.Errorf("passed on: %t, noted: %v", passed, p.taken)
	}
}
