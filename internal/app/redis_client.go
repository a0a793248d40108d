package app

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// poolSize is the number of connections of a client. Every synchronous call holds
// one for a round trip at a time, so hundreds of calls share these.
const poolSize = 64

// Patience with a Redis that does not answer. A caller gets his 503 after two tries, in
// 9 s at most; go-redis's own values would make it 40.
const (
	answerTimeout = 2 * time.Second
	retries       = 1
)

// topologyReload is how old what a client knows of a cluster may be. A master that has died says
// nothing of the one that takes its place, so only asking the others tells; by default that would be
// once a minute. It costs one command a second for each client that has something to do.
const topologyReload = time.Second

// connect returns a client. Each call makes one with connections of its own.
func connect(o redis.UniversalOptions, name string) redis.UniversalClient {
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

// redisAdvice says what to change about an error that Redis or the way to it gave; empty if that
// is not known. Other processes of this kind have the text of an error only.
func redisAdvice(err error, secure bool) string {
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
	case secure && (isOver(err) || errors.Is(err, os.ErrDeadlineExceeded) || says("i/o timeout")):
		return "nothing answers TLS there; if that port is without, write redis://"
	case !secure && (errors.Is(err, io.EOF) || says("EOF", "connection reset by peer", "broken pipe")):
		return "Redis hangs up at once; if it speaks TLS at that port, write rediss://"
	case says("NOAUTH", "WRONGPASS", "NOPERM"):
		return "give user and password in KAA_REDIS_URL, and the user what docs/operations.md lists"
	}
	return ""
}

// isHopeless reports whether waiting does not help: Redis answers, and refuses, or it is not known
// for what it should be.
func isHopeless(err error) bool {
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

// isOver reports whether an error is only that the time of the asking was over.
func isOver(err error) bool {
	netErr := (*net.OpError)(nil)
	return errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &netErr)
}
