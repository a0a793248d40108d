package e2b

import (
	"errors"
	"net/http"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
)

const (
	// attributePrefix begins the names of the extended attributes that are metadata. Code in sandboxes sets them by these names, too.
	attributePrefix = job.AttributePrefix + "e2b."
	// metadataHeader begins the names of the headers of an upload that are metadata of its files.
	metadataHeader = "x-metadata-"
)

// attributesIn returns the attributes that the headers of an upload ask for. Keys are lower case: HTTP does not tell more.
func attributesIn(h http.Header) (map[string]string, error) {
	var all map[string]string
	for name, values := range h {
		key, ok := strings.CutPrefix(strings.ToLower(name), metadataHeader)
		if !ok {
			continue
		}
		value := values[0]
		if key == "" || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
			return nil, dialect.NewFault(http.StatusBadRequest, "invalid_metadata", "invalid metadata '%s': a key must not be empty, and a value has printable ASCII characters only", clipped(key))
		}
		if all == nil {
			all = map[string]string{}
		}
		all[attributePrefix+key] = value
	}
	if refused, ok := errors.AsType[*job.RefusedError](job.CheckAttributes(all)); ok {
		return nil, dialect.NewFault(http.StatusBadRequest, "invalid_metadata", "invalid metadata: %s", refused.Message)
	}
	return all, nil
}

// metadataOfFile returns the metadata of a file; nil if it has none.
func metadataOfFile(e job.Entry) map[string]string {
	var all map[string]string
	for name, value := range e.Attributes {
		if key, ok := strings.CutPrefix(name, attributePrefix); ok {
			if all == nil {
				all = map[string]string{}
			}
			all[key] = value
		}
	}
	return all
}
