package mcp

import (
	"context"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// answerCopies is how many times an answer holds its content, in bytes of the content, while the SDK encodes it: as it was read and
	// as it is answered, and in the result, the message and the event, where JSON makes it up to mostGrowth times as long.
	answerCopies = 2 + 3*mostGrowth
	mostGrowth   = 2
	// smallAnswer is the size of answers that do not count, as small results do not.
	smallAnswer = 64 << 10
)

// holdResult counts the content of a tool's result in the memory of answers, beside what was counted to make it.
func holdResult(ctx context.Context, r *sdk.CallToolResult) error {
	size := int64(0)
	for _, c := range r.Content {
		switch c := c.(type) {
		case *sdk.TextContent:
			size += int64(len(c.Text))
		case *sdk.ImageContent:
			size += int64(len(c.Data))
		}
	}
	return holdAnswer(ctx, size)
}

// holdAnswer counts an answer with so many bytes of content.
func holdAnswer(ctx context.Context, size int64) error {
	if size <= smallAnswer {
		return nil
	}
	return job.HoldAtLeast(ctx, answerCopies*size)
}

// holdText counts an answer that is a text.
func holdText(ctx context.Context, text string) error {
	return holdAnswer(ctx, max(int64(len(text)), encoded(text)/mostGrowth))
}

// encoded is about how many bytes JSON needs for a text.
func encoded(text string) int64 {
	n := int64(len(text))
	for _, c := range []byte(text) {
		switch {
		case c < ' ' && c != '\n' && c != '\t' && c != '\r', c == '<', c == '>', c == '&':
			n += 5
		case c < ' ', c == '"', c == '\\':
			n++
		}
	}
	return n + 3*int64(strings.Count(text, "\u2028")+strings.Count(text, "\u2029"))
}
