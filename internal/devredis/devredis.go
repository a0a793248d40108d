// Package devredis is a Redis inside this process, for `kaa dev` and `kaa run`: nothing to
// install, nothing kept. The server binaries do not link it.
package devredis

import (
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Start starts one on a port of loopback, and returns its address and what ends it.
func Start() (url string, stop func(), err error) {
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr("127.0.0.1:0"); err != nil {
		return "", nil, fmt.Errorf("start embedded Redis: %w", err)
	}
	ending, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		passTime(m, ending)
	}()
	return "redis://" + m.Addr(), func() {
		close(ending)
		<-ended
		m.Close()
	}, nil
}

// passTime makes keys expire until ending is closed: miniredis's clock stands still by itself.
func passTime(m *miniredis.Miniredis, ending <-chan struct{}) {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ending:
			return
		case now := <-t.C:
			m.FastForward(now.Sub(last))
			last = now
		}
	}
}
