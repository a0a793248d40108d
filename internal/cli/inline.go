package cli

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/kaa-run/kaa/internal/app"
)

// kittyPiece is the most that one command of kitty's protocol may have.
const kittyPiece = 4096

// firstKonsole is the first version of Konsole with sixel. They have six digits.
const firstKonsole = "220400"

// pictures returns how the terminal of standard output shows a picture between its lines; nil if it shows none, or is no terminal.
// KAA_PICTURES names a protocol for a terminal that is not known here.
func pictures(p app.Process) func(png []byte) string {
	if _, terminal := p.Stdout.(Color); !terminal {
		return nil
	}
	if chosen := p.Environ.Get("KAA_PICTURES"); chosen != "" {
		return map[string]func([]byte) string{"kitty": kitty, "iterm": iTerm, "sixel": sixel}[chosen]
	}
	name, program := p.Environ.Get("TERM"), p.Environ.Get("TERM_PROGRAM")
	switch {
	case p.Environ.Get("TMUX") != "" || strings.HasPrefix(name, "screen"):
		return nil // they pass neither on
	case name == "xterm-kitty" || name == "xterm-ghostty" || p.Environ.Get("KITTY_WINDOW_ID") != "":
		return kitty
	case program == "iTerm.app" || program == "WezTerm" || program == "mintty":
		return iTerm
	case strings.HasPrefix(name, "foot"), strings.HasPrefix(name, "mlterm"), strings.HasPrefix(name, "contour"), strings.Contains(name, "sixel"),
		p.Environ.Get("WT_SESSION") != "", p.Environ.Get("KONSOLE_VERSION") >= firstKonsole:
		return sixel
	}
	return nil
}

// kitty is the protocol of kitty, in pieces.
func kitty(png []byte) string {
	var text strings.Builder
	head := "a=T,f=100,"
	for data := base64.StdEncoding.EncodeToString(png); data != ""; head = "" {
		piece := data[:min(len(data), kittyPiece)]
		data = data[len(piece):]
		more := 0
		if data != "" {
			more = 1
		}
		_, _ = fmt.Fprintf(&text, "\x1b_G%sm=%d;%s\x1b\\", head, more, piece)
	}
	return text.String() + "\n"
}

// iTerm is the protocol of iTerm2.
func iTerm(png []byte) string {
	return fmt.Sprintf("\x1b]1337;File=inline=1;size=%d:%s\a\n", len(png), base64.StdEncoding.EncodeToString(png))
}
