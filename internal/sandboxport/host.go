package sandboxport

import (
	"crypto/hmac"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// Hosts are host names of which each is a port of a session. The zero Hosts are none.
type Hosts struct {
	scheme string
	suffix string // with a dot at its beginning, in lower case
	port   string // of the addresses; empty for the usual one
}

// ParseHosts reads a pattern: *.ports.example.com, perhaps with a scheme in front of it and a port behind it. Without a scheme it is HTTPS, but for
// names of this machine.
func ParseHosts(pattern string) (Hosts, error) {
	if pattern == "" {
		return Hosts{}, nil
	}
	scheme, rest, given := strings.Cut(pattern, "://")
	if !given {
		scheme, rest = "", pattern
	}
	u, err := url.Parse("//" + rest)
	name, ok := "", false
	if err == nil {
		name, ok = strings.CutPrefix(strings.ToLower(u.Hostname()), "*.")
	}
	isName := name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '.' && r != '-' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	})
	if _, err := netip.ParseAddr(name); err == nil {
		isName = false
	}
	if !ok || !isName || strings.Contains(name, "..") || strings.HasSuffix(name, ".") || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || given && scheme != "http" && scheme != "https" {
		return Hosts{}, errors.New("write a name below which all names lead to Kaa, such as *.ports.example.com or http://*.localhost:8080")
	}
	if scheme == "" {
		scheme = "https"
		if name == "localhost" || strings.HasSuffix(name, ".localhost") {
			scheme = "http"
		}
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > MaxPort {
			return Hosts{}, errors.New("its port must be from 1 to 65535")
		}
	}
	return Hosts{scheme: scheme, suffix: "." + name, port: u.Port()}, nil
}

// None reports whether there are no host names.
func (h Hosts) None() bool { return h.suffix == "" }

// Pattern is the pattern of the host names, without scheme and port.
func (h Hosts) Pattern() string { return "*" + h.suffix }

// Domain is what the host names end with, and the port; empty for none.
func (h Hosts) Domain() string {
	if h.None() {
		return ""
	}
	return h.suffix[1:] + h.colon()
}

func (h Hosts) colon() string {
	if h.port == "" {
		return ""
	}
	return ":" + h.port
}

// Label returns the first label of a host name that is one of these: of the Host of a request, which may have a port.
func (h Hosts) Label(host string) (label string, ok bool) {
	if h.None() {
		return "", false
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	label, ok = strings.CutSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), h.suffix)
	return label, ok && label != ""
}

// URL is the address of a port of a session. A ticket for Thing makes it one that needs no other proof.
func (h Hosts) URL(session string, port int, ticket string) string {
	label := strconv.Itoa(port) + "-"
	id, mac := idBytes(session), []byte(nil)
	if whole, err := hex.DecodeString(ticket); err == nil && len(whole) >= holderBytes+macBytes {
		mac = whole[:holderBytes+macBytes]
	}
	if mac == nil {
		label += session
	} else {
		label += signedText.EncodeToString(append(id, mac...))
	}
	return h.scheme + "://" + label + h.suffix + h.colon() + "/"
}

// A signed label has the id of the session, what the ticket begins with, which names its key, and the beginning of its MAC, which is too long to be guessed by
// asking. With the port it fits into the 63 characters that a label may have.
const (
	idBytesLength = 16
	holderBytes   = 8
	macBytes      = 10
)

// signedText is the encoding of signed labels, which have no capitals.
var signedText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding) //nolint:gochecknoglobals // constant

// Address is what a label says.
type Address struct {
	Session string
	Port    int
	holder  string
	mac     []byte // nil if it is not signed
}

// ErrLabel says that a host name is none of a port.
var ErrLabel = errors.New("the host name is none of a port of a session; it begins with the port and the id of the session, such as 8000-0198c2f06b7c7def8abc0123456789ab")

// ReadLabel reads the first label of a host name.
func ReadLabel(label string) (Address, error) {
	number, rest, _ := strings.Cut(label, "-")
	port, err := Number(number)
	if err != nil {
		if errors.Is(err, ErrProxyPort) {
			return Address{}, err
		}
		return Address{}, ErrLabel
	}
	a := Address{Port: port}
	if plain := strings.ReplaceAll(rest, "-", ""); len(plain) == 2*idBytesLength {
		id, err := hex.DecodeString(plain)
		if err != nil || rest != plain && rest != idText(id) {
			return Address{}, ErrLabel
		}
		a.Session = idText(id)
		return a, nil
	}
	all, err := signedText.DecodeString(rest)
	if err != nil || len(all) != idBytesLength+holderBytes+macBytes {
		return Address{}, ErrLabel
	}
	a.Session, a.holder, a.mac = idText(all[:idBytesLength]), hex.EncodeToString(all[idBytesLength:idBytesLength+holderBytes]), all[idBytesLength+holderBytes:]
	return a, nil
}

// Thing is what the ticket of a port is for.
func Thing(session string, port int) string { return fmt.Sprintf("port:%s:%d", session, port) }

// IsSigned reports whether the address proves who calls.
func (a Address) IsSigned() bool { return a.mac != nil }

// Signature returns what the ticket of a signed address begins with, and its check; no check if the address is not signed.
func (a Address) Signature() (holder string, check func(ticket string) bool) {
	if a.mac == nil {
		return "", nil
	}
	return a.holder, func(ticket string) bool {
		whole, err := hex.DecodeString(ticket)
		return err == nil && len(whole) >= holderBytes+macBytes && hmac.Equal(whole[holderBytes:holderBytes+macBytes], a.mac)
	}
}

// idBytes are those of an id of a session.
func idBytes(session string) []byte {
	id, _ := hex.DecodeString(strings.ReplaceAll(session, "-", ""))
	return id
}

func idText(id []byte) string {
	t := hex.EncodeToString(id)
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:]
}
