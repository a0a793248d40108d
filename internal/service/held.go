package service

import "io"

// HoldBody begins to count what a request body, or a frame, of a caller takes of memory.
func (s *Service) HoldBody(c Caller) *Held {
	return &Held{of: &s.cfg.Hub.bodies, caller: c.ID(), most: s.cfg.BodyMemory}
}

// Held is what one request, or one frame of a socket, holds in memory: a body.
type Held struct {
	of     *Shares
	caller string
	most   int64
	n      int64
}

// Release gives the memory back: what has been recorded, or answered, is needed no more.
func (h *Held) Release() {
	h.of.Give(h.caller, h.n)
	h.n = 0
}

// Hold counts n bytes that will be used.
func (h *Held) Hold(n int64) error {
	taken, limit, ok := h.of.Take(h.caller, n, h.most)
	if !ok {
		return &BusyError{ScarceBytes, taken, limit}
	}
	h.n += n
	return nil
}

// Reader counts what it reads, so that a body counts as much as has come of it and not as much
// as it claims to be.
func (h *Held) Reader(r io.Reader) io.Reader { return heldReader{r, h} }

type heldReader struct {
	r io.Reader
	h *Held
}

func (r heldReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n == 0 {
		return n, err
	}
	taken, limit, ok := r.h.of.Take(r.h.caller, int64(n), r.h.most)
	if !ok {
		return n, &BusyError{ScarceBytes, taken, limit}
	}
	r.h.n += int64(n)
	return n, err
}
