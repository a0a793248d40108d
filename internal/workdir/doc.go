// Package workdir is the runner's view of a worker's working directory. It puts files there,
// finds those that the code has created or changed, passes them on, and removes the rest. The
// interpreter package calls it.
//
// The contents of the directory belong to hostile code, which may change them at any moment. So
// this package follows no link and never leaves the directory, and every search is bounded.
//
// Failures: the directory has changed, or has no room. Files outside of it are never touched.
package workdir
