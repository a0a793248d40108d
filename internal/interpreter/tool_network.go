package interpreter

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// toolListens is the time limit for a tool to make its sandbox, which only a machine that is very busy reaches.
const toolListens = time.Minute

// ToolProxy returns the address at which a strict sandbox reaches the listener of Tool.Serve; empty at other levels, where a tool has the network of the machine.
func (p *Pool) ToolProxy() string {
	if p.cfg.Sandbox == sandbox.Strict {
		return proxyAddress
	}
	return ""
}

// toolLink is the way on which a tool passes the listener of its network. The zero value is for tools without one.
type toolLink struct {
	link   process.Link
	theirs *os.File
}

// newToolLink returns the link of a tool, which has one if it is to be served a listener.
func (p *Pool) newToolLink(t Tool) (*toolLink, error) {
	if t.Serve == nil || p.ToolProxy() == "" {
		return nil, nil //nolint:nilnil // it has none
	}
	link, theirs, err := process.NewLink("tool")
	if err != nil {
		return nil, err
	}
	return &toolLink{link, theirs}, nil
}

// serve receives the listener and has it served. An error is one of the tool, too, which says more about it.
func (l *toolLink) serve(ctx context.Context, do func(net.Listener)) error {
	m, file, err := l.link.ReceiveWithin(ctx, toolListens)
	if err == nil {
		err = m.Failure()
	}
	if err != nil {
		return fmt.Errorf("receive the listener of a tool: %w", err)
	}
	if file == nil {
		return fmt.Errorf("receive the listener of a tool: %w", process.ErrNoAnswer)
	}
	listener, err := net.FileListener(file)
	_ = file.Close() // FileListener has duplicated it
	if err != nil {
		return fmt.Errorf("receive the listener of a tool: %w", err)
	}
	do(listener)
	return nil
}
