package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
)

// RedisTLS is how Redis is known, and how this process proves who it is.
type RedisTLS struct {
	CAFile     string `env:"KAA_REDIS_CA_FILE"`
	CertFile   string `env:"KAA_REDIS_CERT_FILE"`
	KeyFile    string `env:"KAA_REDIS_KEY_FILE"`
	ServerName string `env:"KAA_REDIS_SERVER_NAME"`
}

// redisOptions reads the address of Redis and all that belongs to it. Every client of a process is
// made of them.
func (c *Config) redisOptions() (*redis.UniversalOptions, error) {
	o, err := parseRedisURL(c.RedisURL)
	if err != nil {
		return nil, fmt.Errorf("KAA_REDIS_URL: %w", err)
	}
	return o, c.apply(o.TLSConfig)
}

// apply adds the settings to those of a URL, which are nil without TLS.
func (t RedisTLS) apply(to *tls.Config) error {
	if to == nil {
		for name, value := range map[string]string{
			"KAA_REDIS_CA_FILE": t.CAFile, "KAA_REDIS_CERT_FILE": t.CertFile, "KAA_REDIS_KEY_FILE": t.KeyFile, "KAA_REDIS_SERVER_NAME": t.ServerName,
		} {
			if value != "" {
				return fmt.Errorf("%s is set, but KAA_REDIS_URL is without TLS; write rediss://", name)
			}
		}
		return nil
	}
	if t.ServerName != "" {
		to.ServerName = t.ServerName
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return fmt.Errorf("KAA_REDIS_CA_FILE: %w", err)
		}
		to.RootCAs = x509.NewCertPool()
		if !to.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("KAA_REDIS_CA_FILE: %s has no certificate in PEM", t.CAFile)
		}
	}
	if t.CertFile == "" && t.KeyFile == "" {
		return nil
	}
	if t.CertFile == "" || t.KeyFile == "" {
		return errors.New("KAA_REDIS_CERT_FILE and KAA_REDIS_KEY_FILE are one certificate and its key: set both")
	}
	if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
		return fmt.Errorf("KAA_REDIS_CERT_FILE, KAA_REDIS_KEY_FILE: %w", err)
	}
	// Read for each connection: certificates are renewed while a process runs.
	to.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		return &pair, err
	}
	return nil
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
