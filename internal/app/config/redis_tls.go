package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/redis/go-redis/v9"
)

// RedisTLS is how Redis is known, and how this process proves who it is.
type RedisTLS struct {
	CAFile     string `env:"KAA_REDIS_CA_FILE"`
	CertFile   string `env:"KAA_REDIS_CERT_FILE"`
	KeyFile    string `env:"KAA_REDIS_KEY_FILE"`
	ServerName string `env:"KAA_REDIS_SERVER_NAME"`
}

// RedisOptions reads the address of Redis and all that belongs to it. Every client of a process is
// made of them. It is no method of Config: the compiler would read all of go-redis for each package that uses a Config,
// which takes 0.3 s.
func RedisOptions(c *Config) (*redis.UniversalOptions, error) {
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
