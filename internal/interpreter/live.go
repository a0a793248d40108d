package interpreter

import "github.com/kaa-run/kaa/internal/job"

// attach lets somebody watch the execution from any moment on.
func (r *run) attach(tap *job.Tap) {
	tap.Attach(func(s job.Sink) {
		r.stdout.replay("stdout", s)
		r.stderr.replay("stderr", s)
	})
}

// replay gives what was captured so far.
func (c *capture) replay(name string, s job.Sink) {
	s.Stream(name, c.head)
	if dropped := c.total - int64(len(c.head)) - int64(len(c.tail)); dropped > 0 {
		s.Skipped(name, dropped)
	}
	s.Stream(name, c.tail[c.at:])
	s.Stream(name, c.tail[:c.at])
}
