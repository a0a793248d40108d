// Package access knows the API keys: their form, whose they are, what each may do, and where
// they are listed. Only the digest of a key is kept.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/kaa-run/kaa/internal/job"
)

// A key is the prefix, random characters, and a checksum of these in the same alphabet. The prefix
// and the checksum let a scanner of leaked secrets recognise a key, and distinguish a mistyped one
// from a revoked one.
const (
	keyPrefix      = "kaa_"
	randomLength   = 32 // of 62 kinds: 190 bits
	checksumLength = 6  // 62^6 is more than 2^32
	alphabet       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// ErrDamaged says that the text has the form of a key, but its checksum does not fit.
var ErrDamaged = errors.New("the API key is incomplete or mistyped: its checksum does not fit")

// NewSecret makes a key. It is shown once, and then only its digest is known.
func NewSecret() string {
	random := make([]byte, 0, randomLength)
	buffer := make([]byte, randomLength)
	for len(random) < randomLength {
		_, _ = rand.Read(buffer) // never fails
		for _, b := range buffer {
			// The values above would make some characters more likely than others.
			if int(b) < 256-256%len(alphabet) && len(random) < randomLength {
				random = append(random, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return keyPrefix + string(random) + checksum(string(random))
}

func checksum(random string) string {
	sum := crc32.ChecksumIEEE([]byte(random))
	text := make([]byte, checksumLength)
	for i := range slices.Backward(text) {
		text[i] = alphabet[sum%uint32(len(alphabet))]
		sum /= uint32(len(alphabet))
	}
	return string(text)
}

// CheckSecret returns ErrDamaged for a text that begins like a key and is none. A text that does
// not begin like a key is a key that the operator chose.
func CheckSecret(text string) error {
	rest, ours := strings.CutPrefix(text, keyPrefix)
	if !ours {
		return nil
	}
	if len(rest) != randomLength+checksumLength || checksum(rest[:randomLength]) != rest[randomLength:] {
		return ErrDamaged
	}
	return nil
}

// Digest is the text by which a key is kept: its SHA-256 in hex.
func Digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Key is what is known of a key.
type Key struct {
	ID      string    `json:"id"`
	Tenant  string    `json:"tenant"`
	Name    string    `json:"name,omitempty"`
	Scopes  Scopes    `json:"scopes,omitempty"` // none means UsualScopes
	Expires time.Time `json:"expires,omitzero"` // zero for never
	Created time.Time `json:"created,omitzero"`
	SHA256  string    `json:"sha256"`
	// Limits are the key's own; nil for none.
	Limits *job.KeyLimits `json:"limits,omitempty"`
}

// Lengths of the texts of a key.
const (
	mostTenant = 64
	mostName   = 128
	mostID     = 64
)

// FieldError says which part of the description of a key is wrong.
type FieldError struct {
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// Check says what is wrong with the description of a key: a FieldError.
func (k *Key) Check() error {
	if err := CheckTenant(k.Tenant); err != nil {
		return &FieldError{"tenant", err}
	}
	if !isName(k.ID, mostID) {
		return &FieldError{"id", fmt.Errorf("want 1 to %d letters, digits, '-', '_' or '.'", mostID)}
	}
	if len(k.Name) > mostName || strings.ContainsFunc(k.Name, unicode.IsControl) {
		return &FieldError{"name", fmt.Errorf("want at most %d bytes, without control characters", mostName)}
	}
	if err := k.Scopes.check(); err != nil {
		return &FieldError{"scopes", err}
	}
	if sum, err := hex.DecodeString(k.SHA256); err != nil || len(sum) != sha256.Size || k.SHA256 != strings.ToLower(k.SHA256) {
		return &FieldError{"sha256", errors.New("want the SHA-256 of the key, 64 lower-case hex digits")}
	}
	if wrong := k.Limits.Check(); len(wrong) > 0 {
		return &FieldError{wrong[0].Field, errors.New(wrong[0].Message)}
	}
	return nil
}

// isName reports whether a text can name a tenant or a key in paths, logs and labels of metrics.
func isName(text string, most int) bool {
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// CheckTenant says what is wrong with the name of a tenant.
func CheckTenant(name string) error {
	if !isName(name, mostTenant) {
		return fmt.Errorf("want 1 to %d letters, digits, '-', '_' or '.'", mostTenant)
	}
	return nil
}

// shortDigest is how much of a digest names a key of the configuration in logs.
const shortDigest = 16

// Configured returns the keys of the configuration: one tenant without a name.
func Configured(plain, admins []string) []Key {
	var keys []Key
	for i, secret := range slices.Concat(plain, admins) {
		digest := Digest(secret)
		k := Key{ID: digest[:shortDigest], SHA256: digest, Scopes: UsualScopes()}
		if i >= len(plain) {
			k.Scopes = known()
		}
		keys = append(keys, k)
	}
	return keys
}
