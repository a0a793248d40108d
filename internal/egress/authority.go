package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

const (
	// certificateTime is longer than a session lives.
	certificateTime = 400 * 24 * time.Hour
	// certificateSlack allows for a clock of the code that is late, as faketime has it.
	certificateSlack = 24 * time.Hour
	// mostCertificates bounds the certificates that are kept of one sandbox: a rule for *.example.com has any number of names.
	mostCertificates = 64
)

// authority certifies destinations to one sandbox, whose proxy looks into TLS. Its key is in the runner's memory only, and ends with the door.
type authority struct {
	certificate *x509.Certificate
	key, leaf   *ecdsa.PrivateKey // leaf is the key of all certificates of destinations
	pem         []byte

	mu    sync.Mutex
	known map[string]*tls.Certificate
}

func newAuthority() (*authority, error) {
	a := &authority{known: map[string]*tls.Certificate{}}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	if a.leaf, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	template := describe("Kaa: the proxy of this sandbox")
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	text, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	if a.certificate, err = x509.ParseCertificate(text); err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: text})
	return a, nil
}

func describe(name string) *x509.Certificate {
	number := make([]byte, 16)
	_, _ = rand.Read(number) // it never fails
	number[0] &= 0x7f
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(number), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-certificateSlack), NotAfter: now.Add(certificateTime),
	}
}

// certify returns a certificate for a host.
func (a *authority) certify(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.known[host]; c != nil {
		return c, nil
	}
	name := host
	if len(name) > 64 { // the most that a common name has; clients look at the others
		name = "Kaa"
	}
	template := describe(name)
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.BasicConstraintsValid = true
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	text, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &a.leaf.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("certify %s: %w", host, err)
	}
	c := &tls.Certificate{Certificate: [][]byte{text}, PrivateKey: a.leaf}
	if len(a.known) < mostCertificates {
		a.known[host] = c
	}
	return c, nil
}
