package webhook

import "time"

// What the tests need of the inside.

const (
	Concurrency = concurrency
	SlowPlaces  = slowPlaces
	BadAfter    = badAfter
	RestFor     = restFor
)

type Hosts = hosts

func NewHosts() *Hosts                                  { return newHosts() }
func (h *hosts) MayTry(host string, now time.Time) bool { return h.mayTry(host, now) }
func (h *hosts) Failed(host string, now time.Time)      { h.failed(host, now) }
func (h *hosts) Answered(host string)                   { h.answered(host) }
func PauseAfter(attempts int) time.Duration             { return pauseAfter(attempts) }
