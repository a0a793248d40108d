package sandboxport

import (
	"errors"
	"fmt"
	"strconv"
)

// proxyPort is the port of the proxy for code with a network, which is the runner's: internal/interpreter/egress.go.
const proxyPort = 3128

// ErrProxyPort refuses the port of the proxy.
var ErrProxyPort = fmt.Errorf("%d is the port of the proxy through which code reaches the network; let the server listen on another one", proxyPort)

// ErrPort refuses what is no port.
var ErrPort = errors.New("must be from 1 to 65535")

// Number reads a port, in its only notation.
func Number(text string) (int, error) {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil, n < 1, n > MaxPort, strconv.Itoa(n) != text:
		return 0, ErrPort
	case n == proxyPort:
		return 0, ErrProxyPort
	}
	return n, nil
}
