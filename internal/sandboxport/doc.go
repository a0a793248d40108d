// Package sandboxport connects callers with servers that code has started in a session: to a port of the sandbox, and for HTTP and WebSockets
// through a reverse proxy whose answers cannot harm the address at which they are shown. Kaa's own API and dialects use it.
//
// The sandbox has no interface, and it may be on another machine than the API process. So a connection is a command of the session, which
// connects its streams with the port. Both ends are hostile to each other: the request reaches the code without what its caller proves itself with, and
// the answer of the code is parsed, bounded and written anew.
package sandboxport
