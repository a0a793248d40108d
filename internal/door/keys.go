package door

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"

	"github.com/kaa-run/kaa/internal/service"
)

// keys are the digests of the API keys, the admins' last.
type keys struct {
	sums   [][sha256.Size]byte
	admins int // index of the first
}

func newKeys(plain, admins []string) *keys {
	k := &keys{admins: len(plain)}
	for _, key := range slices.Concat(plain, admins) {
		k.sums = append(k.sums, sha256.Sum256([]byte(key)))
	}
	return k
}

// caller returns whose key it is. Every key is compared, and digests have one length: the time
// taken says nothing about any of them.
func (k *keys) caller(key string) (service.Caller, bool) {
	given := sha256.Sum256([]byte(key))
	match, admin := 0, 0
	for i := range k.sums {
		same := subtle.ConstantTimeCompare(given[:], k.sums[i][:])
		match |= same
		if i >= k.admins {
			admin |= same
		}
	}
	if match == 0 {
		return service.Caller{}, false
	}
	return service.Caller{Key: hex.EncodeToString(given[:]), All: admin != 0}, true
}

// authenticated lets requests with one of the keys pass; with no keys, all.
func (in *entrance) authenticated(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	if len(in.keys.sums) > 0 && !in.dialect.Public(r) {
		caller, ok := in.keys.caller(in.dialect.Key(r))
		if !ok {
			in.refuse(w, r, service.ErrUnauthorized)
			return
		}
		service.CallOf(r.Context()).Caller = caller
	}
	next(w, r)
}
