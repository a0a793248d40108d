package job

import (
	"fmt"
	"strings"
)

// The bounds of the extended attributes that an entry is given, and of those that are shown of it.
const (
	MaxAttributes = 64
	// MaxAttributeBytes bounds names and values together.
	MaxAttributeBytes = 4 << 10
	// maxAttributeName is the kernel's bound of one name.
	maxAttributeName = 255
	// AttributePrefix begins the names of all attributes that a session has. Others decide over rights.
	AttributePrefix = "user."
)

// CheckAttributes returns a RefusedError unless a file may be given these attributes.
func CheckAttributes(all map[string]string) error {
	size := 0
	for name, value := range all {
		if len(name) <= len(AttributePrefix) || len(name) > maxAttributeName || !strings.HasPrefix(name, AttributePrefix) || strings.IndexByte(name, 0) >= 0 {
			const shown = 100
			return &RefusedError{Message: fmt.Sprintf("%.*q cannot be the name of an attribute; send one that begins with %s and has at most %d bytes", shown, name, AttributePrefix, maxAttributeName)}
		}
		size += len(name) + len(value)
	}
	if len(all) > MaxAttributes || size > MaxAttributeBytes {
		return &RefusedError{Message: fmt.Sprintf("a file has at most %d attributes, whose names and values have at most %d bytes together; send fewer or shorter ones", MaxAttributes, MaxAttributeBytes)}
	}
	return nil
}
