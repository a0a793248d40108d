package e2b

import (
	"strings"

	"github.com/kaa-run/kaa/internal/service"
)

// The id of a sandbox is that of its session without the dashes: it becomes a part of host names.
const idLength = 32

// sandboxID returns the id of the sandbox that a session is.
func sandboxID(session string) string { return strings.ReplaceAll(session, "-", "") }

// sessionOf returns the session that a sandbox is. Older SDKs append the id of the client.
func sessionOf(sandbox string) (session string, ok bool) {
	sandbox, _, _ = strings.Cut(sandbox, "-")
	if len(sandbox) != idLength {
		return "", false
	}
	session = sandbox[:8] + "-" + sandbox[8:12] + "-" + sandbox[12:16] + "-" + sandbox[16:20] + "-" + sandbox[20:]
	return session, service.IsID(session)
}

// accessTo is what the tokens of a session are for.
func accessTo(session string) string { return "e2b:" + session }

// TrafficThing is what the token is for that clients send to the host names of a sandbox's ports.
func TrafficThing(session string) string { return accessTo(session) }
