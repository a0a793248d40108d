// Package redisclient connects to Redis as Kaa needs it, checks how Redis is set, and says how to
// mend what keeps Kaa from using it.
package redisclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// poolSize is the number of connections of a client. Each synchronous call holds a connection only
// for the time of a round trip, so hundreds of calls share these.
const poolSize = 64

// answerTimeout and retries bound the wait for a Redis that does not answer. A caller gets a 503
// after two attempts, within 9 s. The defaults of go-redis would make it 40 s.
const (
	answerTimeout = 2 * time.Second
	retries       = 1
)

// topologyReload is the period in which a client asks for the topology of a cluster. A dead master
// cannot name its successor, so the client has to ask the other nodes; by default it asks once a
// minute. It costs one command a second for each client that is in use.
const topologyReload = time.Second

// Connect returns a new client with connections of its own.
func Connect(o redis.UniversalOptions, name string) redis.UniversalClient {
	o.ClientName = "kaa-" + name
	o.PoolSize = poolSize
	for _, d := range []*time.Duration{&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout} {
		if *d == 0 {
			*d = answerTimeout
		}
	}
	if o.MaxRetries == 0 {
		o.MaxRetries = retries
	}
	if !o.IsClusterMode {
		return redis.NewUniversalClient(&o)
	}
	cluster := o.Cluster()
	cluster.ClusterStateReloadInterval = topologyReload
	return redis.NewClusterClient(cluster)
}

// Advice returns how to fix an error of Redis or of the connection to it; empty if that is not
// known. It compares texts, because most of these errors have no exported type.
func Advice(err error, secure bool) string {
	text := err.Error()
	says := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case says("certificate signed by unknown authority"):
		return "the certificate of Redis is of an authority that this machine does not know: name its file in KAA_REDIS_CA_FILE"
	case says("certificate has expired or is not yet valid"):
		return "the certificate of Redis is out of date, or the clock of this machine is wrong"
	case says("certificate is valid for", "doesn't contain any IP SANs", "certificate is not valid for any names"):
		return "the certificate of Redis is for another name: call Redis by that, or set KAA_REDIS_SERVER_NAME to it"
	case says("certificate required"):
		return "Redis asks for a client certificate: set KAA_REDIS_CERT_FILE and KAA_REDIS_KEY_FILE"
	case says("tls: unknown certificate authority", "tls: bad certificate", "tls: unsupported certificate", "tls: expired certificate", "tls: certificate unknown"):
		return "Redis refuses the client certificate in KAA_REDIS_CERT_FILE"
	case says("first record does not look like a TLS handshake"):
		return "Redis does not speak TLS at that port: write redis://, or name its TLS port"
	case secure && (IsOver(err) || errors.Is(err, os.ErrDeadlineExceeded) || says("i/o timeout")):
		return "nothing answers TLS there; if that port is without, write redis://"
	case !secure && (errors.Is(err, io.EOF) || says("EOF", "connection reset by peer", "broken pipe")):
		return "Redis hangs up at once; if it speaks TLS at that port, write rediss://"
	case says("NOAUTH", "WRONGPASS", "NOPERM"):
		return "give user and password in KAA_REDIS_URL, and the user what docs/operations.md lists"
	}
	return ""
}

// IsHopeless reports whether waiting does not help, because Redis answers with a refusal or the TLS
// handshake fails.
func IsHopeless(err error) bool {
	if reply, ok := errors.AsType[redis.Error](err); ok {
		for _, p := range []string{"NOAUTH", "WRONGPASS", "NOPERM", "ERR"} {
			if strings.HasPrefix(reply.Error(), p) {
				return true
			}
		}
	}
	text := err.Error()
	return strings.Contains(text, "x509:") || strings.Contains(text, "tls:") || strings.Contains(text, "does not look like a TLS handshake")
}

// IsOver reports whether an error only says that the time of the request was over.
func IsOver(err error) bool {
	netErr := (*net.OpError)(nil)
	return errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &netErr)
}

// SetLog makes go-redis log to log at debug level. Its messages are about connections that it
// repairs. The log is one for the whole process.
func SetLog(log *slog.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log *slog.Logger }

func (l clientLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, "redis client", slog.String("message", fmt.Sprintf(format, v...)))
}
