package mcp

import (
	"net/http"
	"sync"
	"time"
)

// quietTime is how long a stream of events may be silent. Proxies and clients give up on one that says nothing for a minute.
const quietTime = 15 * time.Second

// stream is the writer of an answer. While a tool works, a comment is written into it whenever nothing else is. It is to be stopped.
type stream struct {
	http.ResponseWriter
	mu      sync.Mutex
	written time.Time
	over    bool
	stopped chan struct{}
	done    sync.WaitGroup
}

// begin begins to write comments. The SDK has made the answer a stream of events by then, since it calls the tool.
func (s *stream) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.written = time.Now()
		s.done.Go(s.comment)
	}
}

func (s *stream) comment() {
	ticker := time.NewTicker(quietTime)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.sayHere()
		case <-s.stopped:
			return
		}
	}
}

// sayHere writes a comment, which clients ignore, unless something was written lately.
func (s *stream) sayHere() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.written) < quietTime/2 {
		return
	}
	if _, err := s.ResponseWriter.Write([]byte(": working\n\n")); err == nil {
		_ = http.NewResponseController(s.ResponseWriter).Flush()
	}
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = time.Now()
	return s.ResponseWriter.Write(p) //nolint:wrapcheck // of the connection
}

// FlushError is for http.ResponseController.
func (s *stream) FlushError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return http.NewResponseController(s.ResponseWriter).Flush() //nolint:wrapcheck // of the connection
}

// stop ends the comments. Nothing is written after that.
func (s *stream) stop() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	close(s.stopped)
	s.done.Wait()
}
