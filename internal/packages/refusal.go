package packages

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"

	"github.com/kaa-run/kaa/internal/job"
)

// mostWords is how much of the installer's explanation a failure has, in bytes.
const mostWords = 4 << 10

// heading are lines of uv that say nothing about the packages.
var heading = regexp.MustCompile(`(?m)^(Using CPython .*|Resolved \d+ packages? in .*)\n`)

// signs are texts in the output of uv that tell what went wrong, the first that is found counts.
var signs = []struct { //nolint:gochecknoglobals // a constant
	texts  []string
	code   job.FailureCode
	advice string
}{
	{[]string{"No space left on device", "Disk quota exceeded"}, job.FailPackagesDisk, "The runner has no room for them; try again later, or ask the operator of this Kaa."},
	{[]string{"File too large", "os error 27"}, job.FailPackagesTooLarge, "A file of them is larger than a set of packages may be (KAA_MAX_PACKAGES_BYTES)."},
	{[]string{"Hash mismatch"}, job.FailPackageHash, "The index sent another file than it announced; ask its operator."},
	{
		[]string{"no wheels with a matching", "no usable wheels", "has no wheels", "no source distribution", "building source distributions is disabled", "Building source distributions", "no-binary", "only-binary"},
		job.FailPackageWheel, "Name a version that has a wheel for this Python and Linux, or another runtime.",
	},
	{[]string{"was not found in the package registry"}, job.FailPackages, "Check the spelling of the name: it may differ from that of the module."},
	{[]string{"No solution found"}, job.FailPackages, "Change the versions that you name, or leave them out."},
	{
		[]string{"error sending request", "Failed to fetch", "Could not connect", "Request failed", "tcp connect", "dns error", "operation timed out", "Failed to download", "HTTP status"},
		job.FailPackageIndex, "Try again later.",
	},
}

// refusalOf makes a failure of what the installer said before it ended with an exit code, -1 if a signal ended it.
func refusalOf(said string, code int) error {
	words := strings.TrimSpace(heading.ReplaceAllString(strings.ToValidUTF8(said, "\uFFFD"), ""))
	if len(words) > mostWords {
		words = "… " + strings.ToValidUTF8(words[len(words)-mostWords:], "")
	}
	for _, sign := range signs {
		for _, text := range sign.texts {
			if strings.Contains(said, text) {
				return &job.RefusedError{Code: sign.code, Message: "the packages could not be installed. " + sign.advice + " The installer says:\n" + words}
			}
		}
	}
	if code < 0 {
		return &job.RefusedError{Code: job.FailPackagesTooLarge, Message: "the installer was ended, probably for lack of memory or processor time; name fewer or smaller packages"}
	}
	return fmt.Errorf("install packages: the installer ended with %d: %s", code, words)
}

// diskRefusal says that the runner has no room, if that is the error.
func diskRefusal(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &job.RefusedError{Code: job.FailPackagesDisk, Message: "the runner has no room for the packages; try again later, or ask the operator of this Kaa"}
	}
	return fmt.Errorf("install packages: %w", err)
}
