package queue_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/queue"
)

// TestDequeueOnABrokenConnection: a task that has been read is returned, even if the commands that
// are sent with its dequeue fail. The queues without an answer are not reported as empty.
func TestDequeueOnABrokenConnection(t *testing.T) {
	t.Parallel()
	const task, gone = "$4\r\ntask\r\n", "" // the connection ends in place of an answer
	tests := []struct {
		name          string
		lpop, evalsha string
		exists        string
		want          any
		none          []string
		err           error
		fails         bool // in whatever way
	}{
		{"all is answered", ":1\r\n", task, ":0\r\n", "task", []string{"list"}, nil, false},
		{"there are more", ":1\r\n", task, ":1\r\n", "task", nil, nil, false},
		{"nothing there", "$-1\r\n", "$-1\r\n", ":0\r\n", nil, []string{"list"}, redis.Nil, false},
		{"EXISTS is refused", "$-1\r\n", task, "-NOPERM no\r\n", "task", nil, nil, false},
		{"it breaks after the task", ":1\r\n", task, gone, "task", nil, nil, false},
		{"it breaks in the task", ":1\r\n", "$4\r\nta", gone, "", nil, nil, true},
		{"it breaks before the task", ":1\r\n", gone, gone, nil, nil, nil, true},
		{"nothing there, and it breaks", ":1\r\n", "$-1\r\n", gone, nil, nil, redis.Nil, false},
		{"the script is unknown", ":1\r\n", "-NOSCRIPT no\r\n", ":0\r\n", nil, []string{"list"}, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rdb := playedServer(t, map[string]string{"lpop": tt.lpop, "evalsha": tt.evalsha, "exists": tt.exists})
			cmd := redis.NewCmd(t.Context(), "evalsha", "sha", 0)
			none, err := queue.Dequeue(t.Context(), rdb, cmd, "token", "list")
			if tt.fails {
				if err == nil || errors.Is(err, redis.Nil) || cmd.Err() == nil {
					t.Errorf("error %v, the command's %v; want one", err, cmd.Err())
				}
			} else if !errors.Is(err, tt.err) || !errors.Is(cmd.Err(), tt.err) {
				t.Errorf("error %v, the command's %v; want %v", err, cmd.Err(), tt.err)
			}
			if diff := cmp.Diff(tt.want, cmd.Val()); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.none, none); diff != "" {
				t.Errorf("lists that do not exist (-want +got):\n%s", diff)
			}
		})
	}
}

// playedServer is a Redis that answers some commands and refuses the others. After an
// answer that is not whole the connection ends.
func playedServer(t *testing.T, answers map[string]string) *redis.Client {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			go play(conn, answers)
		}
	}()
	rdb := redis.NewClient(&redis.Options{Addr: lis.Addr().String(), MaxRetries: -1, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func play(conn net.Conn, answers map[string]string) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	for {
		name, err := readCommand(r)
		if err != nil {
			return
		}
		answer, known := answers[name]
		if !known {
			answer = "-ERR unknown command\r\n"
		}
		_, _ = io.WriteString(conn, answer)
		if !strings.HasSuffix(answer, "\r\n") {
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, r) // what is not read would take the answers back
			return
		}
	}
}

// readCommand returns the name of the next command, which is an array of texts.
func readCommand(r *bufio.Reader) (name string, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err //nolint:wrapcheck // the end
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	for i := range 2 * n { // each word after its length
		if line, err = r.ReadString('\n'); err != nil {
			return "", err //nolint:wrapcheck // the end
		}
		if i == 1 {
			name = strings.ToLower(strings.TrimSpace(line))
		}
	}
	return name, nil
}
