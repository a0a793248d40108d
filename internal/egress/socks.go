package egress

import (
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// The parts of SOCKS5 (RFC 1928) that are served: no authentication, and connections.
const (
	socksNoAuth     = 0
	socksNoMethod   = 0xff
	socksConnect    = 1
	socksIPv4       = 1
	socksName       = 3
	socksIPv6       = 4
	socksDone       = 0
	socksFailed     = 1
	socksNotAllowed = 2
	socksNoHost     = 4
	socksNoCommand  = 7
	socksNoAddress  = 8
)

// serveSOCKS serves a connection of a client that speaks SOCKS5.
func (d *Door) serveSOCKS(c *inside) {
	_ = c.SetDeadline(time.Now().Add(beginTime))
	host, port, reply := d.readSOCKS(c)
	switch {
	case reply != socksDone:
		_ = answerSOCKS(c, reply)
	case d.inspect.has(host, port):
		err := d.inspect.admit(host, port)
		if err != nil {
			_ = answerSOCKS(c, socksReply(err))
		} else if answerSOCKS(c, socksDone) == nil {
			d.inspect.take(c, nil, host, port) // which owns it
			return
		}
	default:
		d.tunnelSOCKS(c, host, port)
	}
	_ = c.Close()
}

func (d *Door) tunnelSOCKS(c *inside, host string, port uint16) {
	_ = c.SetDeadline(time.Now().Add(beginTime + connectTime))
	out, err := d.connect(d.life, host, port)
	if err != nil {
		_ = answerSOCKS(c, socksReply(err))
		return
	}
	defer out.Close()
	if answerSOCKS(c, socksDone) == nil {
		pipe(c, out)
	}
}

// readSOCKS reads the greeting and the request. Without a destination the reply says why.
func (d *Door) readSOCKS(c *inside) (host string, port uint16, reply byte) {
	bad := func(text string, reply byte) (string, uint16, byte) {
		_ = d.count.refuse("", 0, &refusal{job.NetworkBadRequest, text})
		return "", 0, reply
	}
	b := make([]byte, 256) // holds every part
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return bad("a greeting of SOCKS5 that ends early", socksFailed)
	}
	methods := b[2 : 2+min(int(b[1]), len(b)-2)]
	if _, err := io.ReadFull(c, methods); err != nil {
		return bad("a greeting of SOCKS5 that ends early", socksFailed)
	}
	method := byte(socksNoMethod)
	for _, m := range methods {
		if m == socksNoAuth {
			method = socksNoAuth
		}
	}
	if _, err := c.Write([]byte{socksVersion, method}); err != nil || method != socksNoAuth {
		return bad("a client of SOCKS5 that wants authentication", socksFailed)
	}
	if _, err := io.ReadFull(c, b[:4]); err != nil || b[0] != socksVersion {
		return bad("a request of SOCKS5 that ends early", socksFailed)
	}
	if b[1] != socksConnect {
		return bad("a request of SOCKS5 that is none for a connection", socksNoCommand)
	}
	host, ok := readSOCKSHost(c, b[3], b)
	if !ok {
		return bad("a request of SOCKS5 with an address of an unknown kind", socksNoAddress)
	}
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return bad("a request of SOCKS5 that ends early", socksFailed)
	}
	port = binary.BigEndian.Uint16(b)
	host, err := job.CleanHost(host)
	if err != nil || port == 0 {
		return bad("a request of SOCKS5 whose destination is none", socksFailed)
	}
	return host, port, socksDone
}

func readSOCKSHost(c *inside, kind byte, b []byte) (string, bool) {
	size := 0
	switch kind {
	case socksIPv4:
		size = 4
	case socksIPv6:
		size = 16
	case socksName:
		if _, err := io.ReadFull(c, b[:1]); err != nil {
			return "", false
		}
		size = int(b[0])
	default:
		return "", false
	}
	if _, err := io.ReadFull(c, b[:size]); err != nil {
		return "", false
	}
	if kind == socksName {
		return string(b[:size]), true
	}
	a, ok := netip.AddrFromSlice(b[:size])
	return a.String(), ok
}

func answerSOCKS(c *inside, reply byte) error {
	_, err := c.Write([]byte{socksVersion, reply, 0, socksIPv4, 0, 0, 0, 0, 0, 0})
	return err
}

func socksReply(err error) byte {
	switch statusOf(err) {
	case 403:
		return socksNotAllowed
	case 502, 504:
		return socksNoHost
	}
	return socksFailed
}
