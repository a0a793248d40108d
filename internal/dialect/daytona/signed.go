package daytona

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// A signed URL lets its holder read or write one file of a sandbox. The SDKs make it, with a key that they ask for. That key is derived from
// a ticket of the caller for the files of the sandbox, so each API process can check a signature and nothing is stored but how often
// the key was replaced. The address of the toolbox, with which such a URL begins, says whose ticket it is.

// mostRotations is how often the signing key of a sandbox can be replaced: a signature is compared with those of all keys.
const mostRotations = 100

const signaturePrefix = "v1_"

// holderMark begins the part of the address of a toolbox that says whose ticket signs URLs.
const holderMark = "~"

// filesOf names the files of a sandbox as what a ticket is for.
func filesOf(session string) string { return "daytona files " + session }

// signingKey is the signing key that a ticket gives after so many rotations.
func signingKey(ticket string, rotations int) string {
	mac := hmac.New(sha256.New, []byte(ticket))
	mac.Write([]byte("signing key " + strconv.Itoa(rotations)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// signature is the signature of a URL.
func signature(key, method, path, expires string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte("v1:files:" + method + ":" + path + ":" + expires))
	return signaturePrefix + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// toolboxPath divides the path of a toolbox with a holder: the holder, the sandbox, and what follows it.
func toolboxPath(path string) (holder, session, rest string) {
	text, ok := strings.CutPrefix(path, toolbox+holderMark)
	if !ok {
		return "", "", ""
	}
	holder, text, _ = strings.Cut(text, "/")
	session, rest, _ = strings.Cut(text, "/")
	return holder, session, rest
}

// withoutHolder is the request with the path that the routes know.
func withoutHolder(r *http.Request) *http.Request {
	_, session, rest := toolboxPath(r.URL.Path)
	if session == "" {
		return r
	}
	same, url := r.WithContext(r.Context()), *r.URL
	url.Path = toolbox + session + "/" + rest
	if url.RawPath != "" {
		_, session, rest := toolboxPath(url.RawPath)
		url.RawPath = toolbox + session + "/" + rest
	}
	same.URL = &url
	return same
}

// Signature returns whose signature a request has, for which files, and what checks it.
func (*Dialect) Signature(r *http.Request) (holder, thing string, check func(ticket string) bool) {
	holder, session, rest := toolboxPath(r.URL.Path)
	q := r.URL.Query()
	of := map[string]string{"files/download": http.MethodGet, "files/upload-v2": http.MethodPost}[rest]
	if !q.Has("signature") || of != r.Method || !service.IsID(session) || expired(q.Get("expires")) {
		return "", "", nil
	}
	return holder, filesOf(session), func(ticket string) bool {
		for n := range mostRotations + 1 {
			if signs(r, signingKey(ticket, n)) {
				return true
			}
		}
		return false
	}
}

// signs reports whether a request has the signature of a key.
func signs(r *http.Request, key string) bool {
	q := r.URL.Query()
	return hmac.Equal([]byte(q.Get("signature")), []byte(signature(key, r.Method, q.Get("path"), q.Get("expires"))))
}

// expired reports whether the time of a signed URL is over, or cannot be read. 0 is none.
func expired(text string) bool {
	until, err := strconv.ParseInt(text, 10, 64)
	return err != nil || until != 0 && time.Now().Unix() > until
}

// checkSignature refuses a signed request that does not have the signature of the present key, or none that still counts.
func (*Dialect) checkSignature(r *http.Request, se job.Session) error {
	q := r.URL.Query()
	if !q.Has("signature") {
		return nil
	}
	ticket := service.CallerOf(r.Context()).Ticket(filesOf(se.ID))
	if expired(q.Get("expires")) || !signs(r, signingKey(ticket, settingsOf(se).Rotations)) {
		return dialect.NewFault(http.StatusForbidden, "signature_refused", "the signature is not valid, or no longer; ask for a new URL")
	}
	return nil
}

func (d *Dialect) signingKeyOf(w http.ResponseWriter, r *http.Request) error {
	se, err := d.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, signingKey(service.CallerOf(r.Context()).Ticket(filesOf(se.ID)), settingsOf(se).Rotations))
}

func (d *Dialect) rotateSigningKey(w http.ResponseWriter, r *http.Request) error {
	se, err := d.on(r, func(ctx context.Context, se job.Session) (job.Session, error) {
		s := settingsOf(se)
		if s.Rotations >= mostRotations {
			return se, dialect.NewFault(http.StatusConflict, "too_many_rotations", "the signing key of a sandbox can be replaced %d times", mostRotations)
		}
		s.Rotations++
		return d.save(ctx, se, s)
	})
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, signingKey(service.CallerOf(r.Context()).Ticket(filesOf(se.ID)), settingsOf(se).Rotations))
}
