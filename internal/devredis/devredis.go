// Package devredis is a Redis inside this process, for `kaa dev` and `kaa run`. It needs no
// installation and keeps nothing. The server binaries do not link it.
package devredis

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Names of files in the private directory.
const (
	socketName  = "redis.sock"
	addressName = "redis-url" // has the address with the password, for inspection by hand
)

// Start starts a Redis that other users of the machine cannot use. It returns the address and a
// function that ends it. It listens at a Unix socket in dir, a directory of this user alone, or at a port of
// loopback where the path of a socket would be too long, and has a password.
func Start(dir string) (url string, stop func(), err error) {
	m, password := miniredis.NewMiniRedis(), rand.Text()
	m.RequireAuth(password)
	url, silence, err := listen(m, filepath.Join(dir, socketName), password)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, addressName), []byte(url+"\n"), 0o600)
	}
	if err != nil {
		silence()
		return "", nil, fmt.Errorf("start embedded Redis: %w", err)
	}
	ending, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		passTime(m, ending)
	}()
	return url, func() {
		close(ending)
		<-ended
		silence()
		_ = os.Remove(filepath.Join(dir, addressName))
	}, nil
}

// listen has m accept connections. Closing silence ends that, and m.
func listen(m *miniredis.Miniredis, path, password string) (url string, silence func(), err error) {
	socket, err := net.Listen("unix", path) //nolint:noctx // closing silence ends it
	if err != nil {
		if err := m.StartAddr("127.0.0.1:0"); err != nil {
			return "", func() {}, err
		}
		return "redis://:" + password + "@" + m.Addr(), m.Close, nil
	}
	// miniredis can listen at ports only. Without one it starts with its first connection.
	first, err := m.Dial()
	if err != nil {
		return "", func() { _ = socket.Close() }, err
	}
	_ = first.Close()
	server := m.Server()
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			server.ServeConn(conn)
		}
	})
	return "unix://:" + password + "@" + path + "?db=0", func() {
		_ = socket.Close() // no more connections come
		accepting.Wait()
		m.Close()
	}, nil
}

const (
	tick = 100 * time.Millisecond
	// rest is how many times as long as it takes to pass time on the keys then have nothing of it: miniredis
	// sorts all of them, and commands wait meanwhile. With many keys they expire late, and never early.
	rest = 30
)

// passTime makes keys expire until ending is closed, because miniredis's clock does not advance
// by itself.
func passTime(m *miniredis.Miniredis, ending <-chan struct{}) {
	t := time.NewTimer(tick)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ending:
			return
		case <-t.C:
		}
		now := time.Now()
		m.FastForward(now.Sub(last))
		last = now
		t.Reset(max(tick, rest*time.Since(now)))
	}
}
