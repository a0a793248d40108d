package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/kaa-run/kaa/internal/job"
)

// fingerprint identifies the content of a request for idempotency.
func fingerprint(body any, uploads []job.FileRequest) (string, error) {
	b, err := json.Marshal(body)
	if err == nil && len(uploads) > 0 {
		var files []byte
		files, err = json.Marshal(uploads)
		b = append(b, files...)
	}
	if err != nil {
		return "", fmt.Errorf("fingerprint request: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
