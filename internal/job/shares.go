package job

import "sync"

// Shares is something of which there is so much and no more, and of which each caller takes a
// part. If it is fair, a caller gets no more while it has more than is left: one caller alone gets half
// of it, another half of the rest. So each further caller finds some.
type Shares struct {
	mu   sync.Mutex
	fair bool
	used int64
	of   map[string]int64 // by caller, if it is fair
}

// Take takes n for a caller, of most; 0 is no limit. If there is not as much, it returns what
// is taken by whom the limit is for, and the limit.
func (s *Shares) Take(caller string, n, most int64) (taken, limit int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if most > 0 {
		if s.used+n > most {
			return s.used, most, false
		}
		if own := s.of[caller]; s.fair && own+n-1 > most-s.used-n {
			return own, max(own, (most-s.used+own)/2), false
		}
	}
	s.used += n
	if s.fair {
		if s.of == nil {
			s.of = make(map[string]int64)
		}
		s.of[caller] += n
	}
	return 0, 0, true
}

// Give gives n of a caller back.
func (s *Shares) Give(caller string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
	if own := s.of[caller]; own > n {
		s.of[caller] = own - n
	} else {
		delete(s.of, caller)
	}
}

// InUse returns how much is taken.
func (s *Shares) InUse() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Fair decides whether callers share the resource, or the first caller may take all.
func (s *Shares) Fair(fair bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fair = fair
}
